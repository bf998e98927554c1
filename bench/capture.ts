import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Capture } from '../src/capture/capture.ts'
import { openFilesCapture } from '../src/capture/files/files-capture.ts'
import { decodeBatch } from '../src/format/batch.ts'
import { fromAbsolute } from '../src/model/path.ts'
import type { CaptureReport } from '../src/model/report.ts'
import { type Sequence, sequence } from '../src/model/sequence.ts'
import { defaultPolicy, type Id } from '../src/model/source.ts'

/**
 * What the capture of files costs by itself: no vault, a consumer that lacks every chunk and throws everything away.
 *   node bench/capture.ts [--source <directory of mixed files>] [--files 20000] [--large 1073741824]
 */
const { values } = parseArgs({
  options: {
    source: { type: 'string' },
    files: { type: 'string', default: '20000' },
    large: { type: 'string', default: String(1024 * 1024 * 1024) },
  },
})

/** Opens a capture, and says when things have arrived. */
class Consumer implements AsyncDisposable {
  readonly capture: Capture
  report: CaptureReport | undefined
  last: Sequence
  cursor: Uint8Array
  bytes = 0
  changes = 0
  readonly #arrivals = new Map<string, (ms: number) => void>()
  #isComplete: () => void = () => undefined
  readonly #ended: Promise<void>

  private constructor(capture: Capture, last: Sequence, cursor: Uint8Array) {
    this.capture = capture
    this.last = last
    this.cursor = cursor
    this.#ended = this.#consume()
  }

  static async open(
    source: string,
    stateDirectory: string,
    last: Sequence = sequence(0),
    cursor: Uint8Array = Buffer.alloc(0),
  ): Promise<Consumer> {
    const id = '0'.repeat(32) as Id
    const capture = await openFilesCapture({
      source: {
        id,
        name: 'bench',
        kind: 'files',
        agent: id,
        paths: [source],
        exclude: [],
        policy: defaultPolicy,
        paused: false,
      },
      stateDirectory,
      resumeAt: last,
      cursor,
      chunkKey: Buffer.alloc(32, 1),
    })
    capture.line(true)
    return new Consumer(capture, last, cursor)
  }

  complete(): Promise<void> {
    return new Promise((resolve) => (this.#isComplete = resolve))
  }

  arrival(path: string): Promise<number> {
    return new Promise((resolve) => this.#arrivals.set(fromAbsolute(path), resolve))
  }

  async #consume(): Promise<void> {
    for await (const output of this.capture.outputs) {
      if (output.kind === 'offer')
        this.capture.answer(
          output.tag,
          output.ids.map(() => true),
        )
      else if (output.kind === 'report') this.report = output.report
      else if (output.kind === 'batch') {
        const at = performance.now()
        this.last = output.last
        this.bytes += output.blocks.reduce((sum, block) => sum + block.length, output.bytes.length)
        const batch = decodeBatch(output.bytes)
        this.cursor = batch.cursor
        this.changes += batch.changes.length
        for (const { change } of batch.changes) {
          if (change.kind === 'mark' && change.mark.type === 'complete') this.#isComplete()
          else if (change.kind !== 'mark') this.#arrivals.get(change.path)?.(at)
        }
        this.capture.durable(output.last)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.capture[Symbol.asyncDispose]()
    await this.#ended
  }
}

const scratch = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
try {
  const small = values.source ?? makeSmallFiles(Number(values.files))
  const total = sizeOf(small)
  console.log(`mixed files: ${total.entries} entries, ${megabytes(total.bytes)}`)
  await baselineAndReconcile('mixed files', small, total.bytes)
  const databaseBytes = 512 * 1024 * 1024
  await baselineAndReconcile('database files', makeDatabaseFiles(databaseBytes), databaseBytes)
  await singleChanges()
  await largeChange(Number(values.large))
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

async function baselineAndReconcile(name: string, source: string, bytes: number): Promise<void> {
  const state = join(scratch, `state ${name}`)
  let at: { last: Sequence; cursor: Uint8Array }
  {
    const began = performance.now()
    const cpu = process.cpuUsage()
    await using consumer = await Consumer.open(source, state)
    await consumer.complete()
    const seconds = (performance.now() - began) / 1000
    const { user, system } = process.cpuUsage(cpu)
    console.log(
      `${name}: baseline ${seconds.toFixed(2)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s, ` +
        `CPU ${((user + system) / 1e6).toFixed(2)} s, sends ${megabytes(consumer.bytes)}, RSS ${megabytes(process.memoryUsage().rss)}`,
    )
    at = consumer
  }
  const began = performance.now()
  await using consumer = await Consumer.open(source, state, at.last, at.cursor)
  await consumer.complete()
  console.log(`${name}: unchanged reconcile ${(performance.now() - began).toFixed(0)} ms, ${consumer.changes} changes`)
}

async function singleChanges(): Promise<void> {
  const source = join(scratch, 'single')
  mkdirSync(source)
  await using consumer = await Consumer.open(source, join(scratch, 'state single'))
  await consumer.complete()
  const times: number[] = []
  for (let index = 0; index < 200; index++) {
    const path = join(source, `file${index % 50}`)
    const arrived = consumer.arrival(path)
    writeFileSync(path, randomBytes(4096))
    const closed = performance.now()
    times.push((await arrived) - closed)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  console.log(`one 4 KiB file after close: ${percentiles(times)} ms`)
  const began = performance.now()
  const arrivals: Promise<number>[] = []
  for (let index = 0; index < 1000; index++) {
    const path = join(source, `burst${index}`)
    arrivals.push(consumer.arrival(path))
    writeFileSync(path, randomBytes(4096))
  }
  const written = performance.now()
  await Promise.all(arrivals)
  console.log(
    `burst of 1000: written in ${(written - began).toFixed(0)} ms, captured ${(performance.now() - written).toFixed(0)} ms later`,
  )
}

async function largeChange(bytes: number): Promise<void> {
  const source = join(scratch, 'large')
  mkdirSync(source)
  const path = join(source, 'file')
  writeBytes(path, bytes)
  await using consumer = await Consumer.open(source, join(scratch, 'state large'))
  const began = performance.now()
  await consumer.complete()
  console.log(`one file of ${megabytes(bytes)}: baseline ${((performance.now() - began) / 1000).toFixed(2)} s`)
  const times: number[] = []
  for (const part of [0.1, 0.5, 0.999]) {
    await new Promise((resolve) => setTimeout(resolve, 5000))
    const arrived = consumer.arrival(path)
    const fd = openSync(path, 'r+')
    writeSync(fd, randomBytes(4096), 0, 4096, Math.floor((bytes * part) / 4096) * 4096)
    closeSync(fd)
    const closed = performance.now()
    times.push((await arrived) - closed)
  }
  console.log(
    `4 KiB changed in it, near its beginning, middle and end: ${times.map((ms) => ms.toFixed(0)).join(', ')} ms`,
  )
}

/** Sizes as in a source tree: most are a few KiB, text that compresses to a quarter. */
function makeSmallFiles(count: number): string {
  const top = join(scratch, 'mixed')
  const words = Array.from({ length: 4000 }, () => randomBytes(3).toString('hex'))
  for (let index = 0; index < count; index++) {
    const directory = join(top, String(index % 40), String(index % 700))
    if (index < 28_000) mkdirSync(directory, { recursive: true })
    const size = Math.min(1_000_000, Math.ceil(-Math.log(1 - Math.random()) * 16_000))
    let text = ''
    while (text.length < size) text += `${words[Math.floor(Math.random() ** 3 * words.length)]} `
    writeFileSync(join(directory, `${index}.txt`), text.slice(0, size))
  }
  return top
}

/** Files of 64 MiB of 8 KiB pages, half random and half filler. */
function makeDatabaseFiles(bytes: number): string {
  const top = join(scratch, 'database')
  mkdirSync(top)
  const page = Buffer.alloc(8192)
  for (let index = 0; index < bytes / (64 * 1024 * 1024); index++) {
    const fd = openSync(join(top, String(index)), 'w')
    for (let count = 0; count < 8192; count++) {
      randomBytes(4096).copy(page)
      writeSync(fd, page)
    }
    fsyncSync(fd)
    closeSync(fd)
  }
  return top
}

function writeBytes(path: string, bytes: number): void {
  const fd = openSync(path, 'w')
  const block = randomBytes(4 * 1024 * 1024)
  for (let at = 0; at < bytes; at += block.length) {
    block.writeUInt32LE(at / block.length, 0)
    for (let mixed = 0; mixed < block.length; mixed += 4096) block.writeUInt32LE((at + mixed) / 4096, mixed)
    writeSync(fd, block, 0, Math.min(block.length, bytes - at))
  }
  fsyncSync(fd)
  closeSync(fd)
}

function sizeOf(top: string): { entries: number; bytes: number } {
  let entries = 0
  let bytes = 0
  for (const entry of readdirSync(top, { recursive: true, withFileTypes: true })) {
    entries++
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).size
  }
  return { entries, bytes }
}

function percentiles(times: readonly number[]): string {
  const sorted = [...times].sort((a, b) => a - b)
  const at = (part: number) => (sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0).toFixed(2)
  return `p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, max ${at(1)}`
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`
}
