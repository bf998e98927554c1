import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { batchBytesMax } from '../model/batch.ts'
import type { Change } from '../model/change.ts'
import { moment, type Moment } from '../model/moment.ts'
import { readChange, writeChange } from './change.ts'
import { compressBody, decompressBody } from './compression.ts'

/**
 * Contents of the frames of a checkpoint: the tree as it stood after one sequence, which is the number and the first
 * sequence of the file's header, told as in a manifest (format/manifest.ts). It is whole only if it is sealed.
 *
 *   checkpoint head   u64 moment of the change at that sequence; the first frame, once
 *   manifest group    compressed body (format/compression.ts) of changes (format/change.ts), at least one
 */
const groupBytes = 256 * 1024

export const encodeCheckpointHead = (at: Moment): Buffer => new ByteWriter(8).u64(at).finish()

export function decodeCheckpointHead(payload: Uint8Array): Moment {
  const reader = new ByteReader(payload)
  const at = moment(reader.u64())
  reader.end()
  return at
}

export async function* encodeGroups(changes: AsyncIterable<Change> | Iterable<Change>): AsyncGenerator<Buffer> {
  let writer = new ByteWriter(groupBytes)
  for await (const change of changes) {
    writeChange(writer, change)
    if (writer.length < groupBytes) continue
    yield compressBody(writer.finish())
    writer = new ByteWriter(groupBytes)
  }
  if (writer.length > 0) yield compressBody(writer.finish())
}

export function decodeGroup(payload: Uint8Array): Change[] {
  const reader = new ByteReader(decompressBody(payload, batchBytesMax))
  const changes: Change[] = []
  while (reader.remaining > 0) changes.push(readChange(reader))
  return changes
}
