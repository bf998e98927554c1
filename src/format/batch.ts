import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import { giveBack } from '../base/give-back.ts'
import { type Batch, batchBytesMax, batchChangesMax, cursorBytesMax, type Stamped } from '../model/batch.ts'
import { moment } from '../model/moment.ts'
import { sequence } from '../model/sequence.ts'
import { readChange, writeChange } from './change.ts'
import { compressBody, decompressBody } from './compression.ts'

/**
 * A batch, as it travels and as it rests: a compressed body (format/compression.ts) of
 *
 *   u8 version 1
 *   u8 flags: 1 settled
 *   varint first sequence
 *   varint count of changes, at least 1
 *   varint moment of the first change
 *   bytes cursor
 *   then each change: varint microseconds since the change before (0 for the first), the change (format/change.ts)
 */
const version = 1
const settledFlag = 1

/** Where batches are put together, one after the other: memory that is new to the process costs more than what is done with it. */
let workspace: Buffer = Buffer.alloc(0)

export function encodeBatch(batch: Batch): Buffer {
  const written = batch.changes.reduce((sum, { change }) => sum + (change.kind === 'write' ? change.data.length : 0), 0)
  const expected = 64 + batch.changes.length * 96 + written
  if (expected > workspace.length && expected <= batchBytesMax) workspace = Buffer.allocUnsafeSlow(2 * expected)
  const writer = new ByteWriter(expected, expected <= workspace.length ? workspace : undefined)
  const start = batch.changes[0]?.moment ?? 0
  writer.u8(version).u8(batch.settled ? settledFlag : 0)
  writer.varint(batch.first).varint(batch.changes.length).varint(start).bytes(batch.cursor)
  let before: number = start
  for (const { moment: at, change } of batch.changes) {
    writer.varint(at - before)
    writeChange(writer, change)
    before = at
  }
  return compressBody(writer.finish())
}

/** The batch again; `Malformed` for any bytes that `encodeBatch` would not have written within the limits. */
export function decodeBatch(bytes: Uint8Array): Batch {
  const reader = new ByteReader(decompressBody(bytes, batchBytesMax))
  const found = reader.u8()
  if (found !== version) throw new Malformed(`batch version ${found}`)
  const flags = reader.u8()
  if ((flags & ~settledFlag) !== 0) throw new Malformed(`flags ${flags} of a batch`)
  const first = sequence(reader.varint())
  const count = reader.varint()
  if (first < 1 || count < 1 || count > batchChangesMax) throw new Malformed(`batch of ${count} from ${first}`)
  let at = reader.varint()
  const cursor = reader.bytes(cursorBytesMax)
  const changes: Stamped[] = []
  for (let index = 0; index < count; index++) {
    at += reader.varint()
    changes.push({ moment: moment(at), change: readChange(reader) })
  }
  reader.end()
  return { first, settled: (flags & settledFlag) !== 0, cursor, changes }
}

/**
 * Gives back the memory that a decoded batch stands in, for who is the last to have it. `encoded` are the bytes it was decoded from, where
 * those are still needed: a batch that was not compressed is a view of them.
 */
export function giveBackBatch({ cursor }: Batch, encoded?: Uint8Array): void {
  if (cursor.buffer !== encoded?.buffer) giveBack(cursor)
}
