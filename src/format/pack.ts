import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import { blockBytesMax, blockChunksMax } from '../model/batch.ts'
import { type ChunkId, chunkIdBytes } from '../model/change.ts'
import type { BlockEntry } from './block.ts'

/**
 * Contents of the frames of a pack. A holder is the number that the registry gave an agent.
 *
 *   block        u32 holder, the block (format/block.ts)
 *   claim        u32 holder, u16 count, 32 bytes each: chunks that this holder has proved to hold and that stand in a
 *                block of another holder
 *   pack index   u64 where the pack index before it starts (0: none), u32 count of entries, each in the order of the frames:
 *                u8 0 block or 1 claim, u64 where the frame starts, u32 bytes of the frame, u32 holder,
 *                u16 count of chunks, each: 32 bytes chunk id, and for a block u32 length
 */
export type PackItem =
  | {
      readonly kind: 'block'
      readonly holder: number
      readonly chunks: readonly PackedChunk[]
      readonly block: Uint8Array
    }
  | { readonly kind: 'claim'; readonly holder: number; readonly ids: readonly ChunkId[] }

export type PackedChunk = Pick<BlockEntry, 'id' | 'bytes'>

/** What a pack index says of one frame. */
export type PackEntry = {
  readonly frameAt: number
  readonly frameBytes: number
  readonly holder: number
} & (
  | { readonly kind: 'block'; readonly chunks: readonly PackedChunk[] }
  | { readonly kind: 'claim'; readonly ids: readonly ChunkId[] }
)

const entryHeadBytes = 1 + 8 + 4 + 4 + 2
const indexHeadBytes = 12
const kinds = ['block', 'claim'] as const
/** Of one pack index frame; a pack has as many as it needs. */
const indexBytesMax = 1024 * 1024

export function blockPayload(holder: number, block: Uint8Array): Uint8Array[] {
  const head = Buffer.allocUnsafe(4)
  head.writeUInt32BE(holder)
  return [head, block]
}

export function readBlockPayload(payload: Buffer): { holder: number; block: Buffer } {
  const reader = new ByteReader(payload)
  return { holder: reader.u32(), block: reader.raw(reader.remaining) }
}

export function claimPayload(holder: number, ids: readonly ChunkId[]): Buffer {
  const writer = new ByteWriter(6 + ids.length * chunkIdBytes)
  writer.u32(holder).u16(ids.length)
  for (const id of ids) writer.raw(Buffer.from(id, 'latin1'))
  return writer.finish()
}

export function readClaimPayload(payload: Uint8Array): { holder: number; ids: ChunkId[] } {
  const reader = new ByteReader(payload)
  const holder = reader.u32()
  const ids = readIds(reader, reader.u16())
  reader.end()
  return { holder, ids }
}

/** Entries in as many groups as there have to be pack index frames; at least one. */
export function groupEntries(entries: readonly PackEntry[]): PackEntry[][] {
  const groups: PackEntry[][] = []
  let group: PackEntry[] = []
  let bytes = indexHeadBytes
  for (const entry of entries) {
    const more = entryBytes(entry)
    if (bytes + more > indexBytesMax) {
      groups.push(group)
      group = []
      bytes = indexHeadBytes
    }
    group.push(entry)
    bytes += more
  }
  groups.push(group)
  return groups
}

const entryBytes = (entry: PackEntry): number =>
  entryHeadBytes + (entry.kind === 'block' ? entry.chunks.length * (chunkIdBytes + 4) : entry.ids.length * chunkIdBytes)

export function encodePackIndex(before: number, entries: readonly PackEntry[]): Buffer {
  const writer = new ByteWriter(entries.reduce((sum, entry) => sum + entryBytes(entry), indexHeadBytes))
  writer.u64(before).u32(entries.length)
  for (const entry of entries) {
    writer.u8(kinds.indexOf(entry.kind)).u64(entry.frameAt).u32(entry.frameBytes).u32(entry.holder)
    if (entry.kind === 'block') {
      writer.u16(entry.chunks.length)
      for (const { id, bytes } of entry.chunks) writer.raw(Buffer.from(id, 'latin1')).u32(bytes)
    } else {
      writer.u16(entry.ids.length)
      for (const id of entry.ids) writer.raw(Buffer.from(id, 'latin1'))
    }
  }
  return writer.finish()
}

export function decodePackIndex(payload: Uint8Array): { before: number; entries: PackEntry[] } {
  const reader = new ByteReader(payload)
  const before = reader.u64()
  const count = reader.u32()
  const entries: PackEntry[] = []
  for (let index = 0; index < count; index++) {
    const kind = kinds[reader.u8()]
    if (kind === undefined) throw new Malformed('kind of entry of a pack')
    const frame = { frameAt: reader.u64(), frameBytes: reader.u32(), holder: reader.u32() }
    const chunks = reader.u16()
    if (chunks < 1 || chunks > blockChunksMax) throw new Malformed(`entry of ${chunks} chunks`)
    if (kind === 'claim') {
      entries.push({ kind, ...frame, ids: readIds(reader, chunks) })
    } else {
      const packed = Array.from({ length: chunks }, () => ({ id: readId(reader), bytes: reader.u32() }))
      if (packed.reduce((sum, { bytes }) => sum + bytes, 0) > blockBytesMax)
        throw new Malformed('entry of too many bytes')
      entries.push({ kind, ...frame, chunks: packed })
    }
  }
  reader.end()
  return { before, entries }
}

const readId = (reader: ByteReader): ChunkId => reader.raw(chunkIdBytes).toString('latin1') as ChunkId

function readIds(reader: ByteReader, count: number): ChunkId[] {
  if (count < 1 || count > blockChunksMax) throw new Malformed(`${count} chunks`)
  return Array.from({ length: count }, () => readId(reader))
}
