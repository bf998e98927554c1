import { readSync, writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { messageOf, systemCode } from '../../../base/errors.ts'
import { punchHole } from '../../../base/syscalls/sparse.ts'
import { type ApplyAnswer, noMoreSteps, stepNumbers } from './apply-thread.ts'

/** The thread of `ApplyThread`. */
const { backing } = workerData as { readonly backing: number }
const copyBytesMax = 1024 ** 2
const buffer = Buffer.allocUnsafeSlow(copyBytesMax)
const zeros = Buffer.alloc(copyBytesMax)
/** Smaller ranges of zeros are written: holes of less than a page give nothing back. */
const holeBytesMin = 64 * 1024

parentPort?.on('message', (steps: Float64Array | typeof noMoreSteps) => {
  if (steps === noMoreSteps) parentPort?.close()
  else parentPort?.postMessage(answer(steps))
})

function answer(steps: Float64Array): ApplyAnswer {
  try {
    for (let index = 0; index < steps.length; index += stepNumbers) {
      const [from, position, at, bytes] = steps.subarray(index, index + stepNumbers) as unknown as [
        number,
        number,
        number,
        number,
      ]
      if (from < 0) zero(at, bytes)
      else copy(from, position, at, bytes)
    }
    return {}
  } catch (error) {
    return { failed: { message: messageOf(error), code: systemCode(error) } }
  }
}

function copy(from: number, position: number, at: number, bytes: number): void {
  for (let done = 0; done < bytes;) {
    const count = readSync(from, buffer, 0, Math.min(bytes - done, copyBytesMax), position + done)
    if (count === 0) throw new Error('broken invariant: what is pending is in the log')
    writeAll(buffer.subarray(0, count), at + done)
    done += count
  }
}

/** On a device as well: there the kernel discards if the device then reads as zeros, and otherwise refuses. */
function zero(at: number, bytes: number): void {
  if (bytes >= holeBytesMin && punchHole(backing, at, bytes)) return
  for (let done = 0; done < bytes;) {
    const count = Math.min(bytes - done, copyBytesMax)
    writeAll(zeros.subarray(0, count), at + done)
    done += count
  }
}

function writeAll(data: Buffer, at: number): void {
  for (let done = 0; done < data.length;) done += writeSync(backing, data, done, data.length - done, at + done)
}
