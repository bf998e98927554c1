import { Writable } from 'node:stream'
import type { Export } from '../../src/nbd/export.ts'
import { HeldMemory } from '../../src/nbd/held-memory.ts'
import { Intake } from '../../src/nbd/intake.ts'
import { command } from '../../src/nbd/numbers.ts'
import { Outlet } from '../../src/nbd/outlet.ts'
import { encodeRequest } from '../../src/nbd/requests.ts'
import { Transmission } from '../../src/nbd/transmission.ts'

/** A connection whose client is the test. */
export function connect(
  served: Export,
  {
    isStructured = false,
    isRead = true,
    memory = new HeldMemory(),
    ...more
  }: { isStructured?: boolean; isRead?: boolean; isClientGone?: () => boolean; memory?: HeldMemory } = {},
) {
  const sent: Buffer[] = []
  let drain = (): void => undefined
  const sink = new Writable({
    write: (piece: Buffer, _encoding, sentOut) => {
      sent.push(Buffer.from(piece))
      if (isRead) sentOut()
      else drain = sentOut
    },
  })
  const intake = new Intake()
  const told = { isFinished: false, refused: '', reads: true, noted: [] as string[] }
  const agreed = { export: served, isStructured, hasAllocation: isStructured }
  const transmission = new Transmission(agreed, intake, new Outlet(sink, memory.spare), memory, {
    reads: (isWanted) => (told.reads = isWanted),
    finished: () => (told.isFinished = true),
    refused: (reason) => (told.refused = reason),
    noted: (message) => told.noted.push(message),
    isClientGone: more.isClientGone ?? (() => false),
  })
  sink.on('drain', () => transmission.drained())
  return {
    told,
    transmission,
    intake,
    sent: () => Buffer.concat(sent),
    give: (...parts: readonly Buffer[]) => {
      for (const part of parts) intake.push(part, () => transmission.go())
    },
    /** The client reads again. */
    drain: () => {
      isRead = true
      drain()
    },
  }
}

export const ask = (which: number, at: number, bytes: number, cookie: number, flags = 0): Buffer =>
  encodeRequest({ command: which, flags, at, bytes }, cookie)

export const write = (at: number, data: Buffer, cookie: number): Buffer =>
  Buffer.concat([ask(command.write, at, data.length, cookie), data])

/** Later turns have had theirs. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export function simpleReply(cookie: number, error = 0, data: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(16)
  head.writeUInt32BE(0x67446698, 0)
  head.writeUInt32BE(error, 4)
  head.writeUInt32BE(cookie, 12)
  return Buffer.concat([head, data])
}

export function chunk(cookie: number, type: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(20)
  head.writeUInt32BE(0x668e33ef, 0)
  head.writeUInt16BE(1, 4)
  head.writeUInt16BE(type, 6)
  head.writeUInt32BE(cookie, 12)
  head.writeUInt32BE(payload.length, 16)
  return Buffer.concat([head, payload])
}

export const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
