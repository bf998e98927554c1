import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import { batchBytesMax, batchChangesMax, cursorBytesMax } from '../model/batch.ts'
import type { Change } from '../model/change.ts'
import { moment, type Moment } from '../model/moment.ts'
import { sequence, type Sequence } from '../model/sequence.ts'
import { readChange, writeChange } from './change.ts'
import { compressBody, decompressBody } from './compression.ts'

/**
 * What a vault tells one who follows a journal: frames, one after the other, for ever. docs/protocols/follow.md.
 *
 *   u32 length of the rest, big-endian · u8 kind, then by kind
 *   0 changes: a compressed body (format/compression.ts) of
 *       varint through: everything up to this sequence has been told with this frame
 *       u8 flags: 1 settled
 *       varint received: when the vault received them, by its clock
 *       bytes cursor of the capture behind them
 *       varint count of changes, at least 1
 *       varint sequence of the first, varint its moment
 *       then each change: varint sequences since the change before (0 for the first), varint microseconds since it,
 *       the change (format/change.ts)
 *   1 alive:   varint through, varint now by the vault's clock. Sent first, whenever changes were passed over, and when
 *              nothing else was sent for some seconds.
 *   2 end:     bytes code, bytes message, bytes hint, in UTF-8. Nothing follows; a stream that ends without it was cut.
 */
export type FollowFrame =
  | ({ readonly kind: 'changes' } & FollowedChanges)
  | { readonly kind: 'alive'; readonly through: Sequence; readonly now: Moment }
  | { readonly kind: 'end'; readonly code: string; readonly message: string; readonly hint: string }

export interface FollowedChanges {
  readonly through: Sequence
  readonly settled: boolean
  readonly received: Moment
  readonly cursor: Uint8Array
  readonly changes: readonly FollowedChange[]
}

export interface FollowedChange {
  readonly sequence: Sequence
  readonly moment: Moment
  readonly change: Change
}

const kinds = ['changes', 'alive', 'end'] as const
const settledFlag = 1
const headBytes = 4
/** Beside the changes of one batch: their sequences and what stands before them. */
const besideBytes = 64 * 1024
const bodyBytesMax = batchBytesMax + besideBytes
const frameBytesMax = bodyBytesMax + 64
const textBytesMax = 16 * 1024

export function encodeFollowFrame(frame: FollowFrame): Buffer {
  const body = bodyOf(frame)
  const writer = new ByteWriter(headBytes + 1 + body.length)
  return writer
    .u32(body.length + 1)
    .u8(kinds.indexOf(frame.kind))
    .raw(body)
    .finish()
}

function bodyOf(frame: FollowFrame): Buffer {
  switch (frame.kind) {
    case 'changes':
      return compressBody(changesBody(frame))
    case 'alive':
      return new ByteWriter().varint(frame.through).varint(frame.now).finish()
    case 'end': {
      const writer = new ByteWriter()
      for (const text of [frame.code, frame.message, frame.hint])
        writer.bytes(Buffer.from(text, 'utf8').subarray(0, textBytesMax))
      return writer.finish()
    }
  }
}

function changesBody({ through, settled, received, cursor, changes }: FollowedChanges): Buffer {
  const writer = new ByteWriter(64 + changes.length * 96)
  writer.varint(through).u8(settled ? settledFlag : 0)
  writer.varint(received).bytes(cursor).varint(changes.length)
  let [before] = changes
  if (before === undefined) throw new Malformed('a frame of no changes')
  writer.varint(before.sequence).varint(before.moment)
  for (const one of changes) {
    writer.varint(one.sequence - before.sequence).varint(one.moment - before.moment)
    writeChange(writer, one.change)
    before = one
  }
  return writer.finish()
}

/** The frames of a stream cut anywhere. Anything that is none is `Malformed`; so is a stream that ends within a frame. */
export async function* decodeFollowFrames(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<FollowFrame> {
  let held: Buffer = Buffer.alloc(0)
  const waiting: Uint8Array[] = []
  let waitingBytes = 0
  let wanted = headBytes
  for await (const piece of pieces) {
    waiting.push(piece)
    waitingBytes += piece.length
    if (held.length + waitingBytes < wanted) continue
    held = Buffer.concat([held, ...waiting.splice(0)])
    waitingBytes = 0
    for (wanted = frameEnd(held); held.length >= wanted; wanted = frameEnd(held)) {
      yield decodeFrame(held.subarray(headBytes, wanted))
      held = held.subarray(wanted)
    }
  }
  if (held.length + waitingBytes > 0) throw new Malformed('a stream that ends within a frame')
}

/** Where the frame that begins `held` ends, as far as that can be told. */
function frameEnd(held: Buffer): number {
  if (held.length < headBytes) return headBytes
  const length = held.readUInt32BE(0)
  if (length < 1 || length > frameBytesMax) throw new Malformed(`a frame of ${length} bytes`)
  return headBytes + length
}

function decodeFrame(bytes: Buffer): FollowFrame {
  const kind = kinds[bytes[0] as number]
  const rest = bytes.subarray(1)
  if (kind === undefined) throw new Malformed(`a frame of kind ${bytes[0]}`)
  if (kind === 'changes') return { kind, ...decodeChanges(rest) }
  const reader = new ByteReader(rest)
  const text = (): string => reader.bytes(textBytesMax).toString('utf8')
  const frame: FollowFrame =
    kind === 'alive'
      ? { kind, through: sequence(reader.varint()), now: moment(reader.varint()) }
      : { kind, code: text(), message: text(), hint: text() }
  reader.end()
  return frame
}

function decodeChanges(bytes: Buffer): FollowedChanges {
  const reader = new ByteReader(decompressBody(bytes, bodyBytesMax))
  const through = sequence(reader.varint())
  const flags = reader.u8()
  if ((flags & ~settledFlag) !== 0) throw new Malformed(`flags ${flags} of changes`)
  const received = moment(reader.varint())
  const cursor = reader.bytes(cursorBytesMax)
  const count = reader.varint()
  if (count < 1 || count > batchChangesMax) throw new Malformed(`${count} changes in a frame`)
  let at = reader.varint()
  let time = reader.varint()
  const changes = Array.from({ length: count }, (_, index): FollowedChange => {
    const step = reader.varint()
    if ((step === 0) !== (index === 0)) throw new Malformed(`a change ${step} after the one before`)
    at += step
    time += reader.varint()
    return { sequence: sequence(at), moment: moment(time), change: readChange(reader) }
  })
  reader.end()
  if (at > through) throw new Malformed(`change ${at} in a frame through ${through}`)
  return { through, settled: (flags & settledFlag) !== 0, received, cursor, changes }
}
