import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import { blockBytesMax, blockChunksMax, chunkBytesMax } from '../model/batch.ts'
import { type ChunkId, chunkIdBytes } from '../model/change.ts'
import { compressBody, decompressBody } from './compression.ts'

/**
 * A block: some chunks, compressed together, as it travels and as it rests in a pack.
 *
 *   u8 version 1
 *   u16 count of chunks, 1 to 1024
 *   each: 32 bytes chunk id, u32 length
 *   compressed body (format/compression.ts): the chunks, one after the other
 */
const version = 1
const headBytes = 3
const entryBytes = chunkIdBytes + 4

export interface Chunk {
  readonly id: ChunkId
  readonly data: Uint8Array
}

export interface BlockEntry {
  readonly id: ChunkId
  /** Where the chunk starts in the body, before compression. */
  readonly at: number
  readonly bytes: number
}

/** Where the chunks of a block are put together: the same memory every time, only ever used within one call. */
let assembled = Buffer.alloc(0)

export function encodeBlock(chunks: readonly Chunk[]): Buffer<ArrayBuffer> {
  const directory = new ByteWriter(headBytes + chunks.length * entryBytes)
  directory.u8(version).u16(chunks.length)
  for (const { id, data } of chunks) directory.raw(Buffer.from(id, 'latin1')).u32(data.length)
  return compressBody(assemble(chunks), directory.finish())
}

function assemble(chunks: readonly Chunk[]): Uint8Array {
  const [only] = chunks
  if (chunks.length === 1 && only) return only.data
  const bytes = chunks.reduce((sum, { data }) => sum + data.length, 0)
  if (assembled.length < bytes) assembled = Buffer.allocUnsafeSlow(bytes)
  let at = 0
  for (const { data } of chunks) {
    assembled.set(data, at)
    at += data.length
  }
  return assembled.subarray(0, bytes)
}

/** The directory of a block, without decompressing it. */
export function readBlockDirectory(bytes: Uint8Array): { entries: BlockEntry[]; bodyAt: number } {
  const reader = new ByteReader(bytes)
  const found = reader.u8()
  if (found !== version) throw new Malformed(`block version ${found}`)
  const count = reader.u16()
  if (count < 1 || count > blockChunksMax) throw new Malformed(`block of ${count} chunks`)
  const entries: BlockEntry[] = []
  let at = 0
  for (let index = 0; index < count; index++) {
    const id = reader.raw(chunkIdBytes).toString('latin1') as ChunkId
    const length = reader.u32()
    if (length < 1 || length > chunkBytesMax) throw new Malformed(`chunk of ${length} bytes`)
    entries.push({ id, at, bytes: length })
    at += length
  }
  if (at > blockBytesMax) throw new Malformed(`block of ${at} bytes`)
  return { entries, bodyAt: reader.position }
}

/** The directory and the decompressed body. Says nothing yet of whether the chunks are what their ids say. */
export function decodeBlock(bytes: Uint8Array): { entries: BlockEntry[]; body: Buffer } {
  const { entries, bodyAt } = readBlockDirectory(bytes)
  const body = decompressBody(bytes.subarray(bodyAt), blockBytesMax)
  const last = entries.at(-1)
  if (last && last.at + last.bytes !== body.length) throw new Malformed('block body and directory differ')
  return { entries, body }
}
