import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import type { Change } from '../model/change.ts'
import { batchBytesMax } from '../model/batch.ts'
import { readChange, writeChange } from './change.ts'
import { compressBody, decompressBody } from './compression.ts'

/**
 * A manifest: a tree (or part of one) at one point, told as the changes that make it from nothing. Parents come before
 * children, everything below a directory before its next sibling, siblings in ascending order of their names' bytes;
 * hard links as `link` to the name told first; the root only if something is known of it. A manifest of part of a tree
 * tells the directories above that part too. A file of more extents than one change may hold, or of much data standing
 * in the changes, is a `put` at its final path, of its final size, with the first extents, followed at once by `patch`es
 * with the others: only the end of a manifest is a state of the tree.
 *
 *   repeated: u32 length, compressed body (format/compression.ts) of changes (format/change.ts), at least one
 *   at the end: u32 0. A manifest without that end is cut short.
 */
export const manifestGroupBytes = 256 * 1024
const groupBytesMax = batchBytesMax

export async function* encodeManifest(changes: AsyncIterable<Change> | Iterable<Change>): AsyncGenerator<Buffer> {
  let writer = new ByteWriter(manifestGroupBytes)
  for await (const change of changes) {
    writeChange(writer, change)
    if (writer.length >= manifestGroupBytes) {
      yield group(writer)
      writer = new ByteWriter(manifestGroupBytes)
    }
  }
  if (writer.length > 0) yield group(writer)
  yield Buffer.alloc(4)
}

function group(writer: ByteWriter): Buffer {
  const body = compressBody(writer.finish())
  const head = Buffer.allocUnsafe(4)
  head.writeUInt32BE(body.length)
  return Buffer.concat([head, body])
}

/** The changes of a manifest that arrives in pieces of any size. */
export async function* decodeManifest(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Change[]> {
  let held = Buffer.alloc(0)
  let ended = false
  for await (const piece of pieces) {
    if (ended) throw new Malformed('bytes after the end of a manifest')
    held = held.length === 0 ? Buffer.from(piece) : Buffer.concat([held, piece])
    for (;;) {
      if (held.length < 4) break
      const length = held.readUInt32BE(0)
      if (length === 0) {
        if (held.length > 4) throw new Malformed('bytes after the end of a manifest')
        ended = true
        break
      }
      if (length > groupBytesMax * 2) throw new Malformed(`manifest group of ${length} bytes`)
      if (held.length < 4 + length) break
      const reader = new ByteReader(decompressBody(held.subarray(4, 4 + length), groupBytesMax))
      const changes: Change[] = []
      while (reader.remaining > 0) changes.push(readChange(reader))
      held = held.subarray(4 + length)
      yield changes
    }
  }
  if (!ended) throw new Malformed('manifest is cut short')
}
