import { createHmac } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { isSystemError } from '../base/errors.ts'
import { decodeBatch } from '../format/batch.ts'
import { type Chunk, decodeBlock, encodeBlock, readBlockDirectory } from '../format/block.ts'
import { blockChunksMax } from '../model/batch.ts'
import type { Change, ChunkId, Extent } from '../model/change.ts'
import { isWithin, toBuffer, type TreePath } from '../model/path.ts'
import type { ShippedBatch } from '../wire/ship.ts'

/** Put together in one block. */
const blockBytesWanted = 512 * 1024

/** Where a chunk was, and by later renames is now. */
interface Place {
  readonly id: ChunkId
  readonly at: number
  readonly bytes: number
  path: TreePath
}

/** Chunks that the batch refers to and does not bring. */
export function chunksNotBrought({ bytes, blocks }: ShippedBatch): ChunkId[] {
  const wanted = new Set<ChunkId>()
  for (const { change } of decodeBatch(bytes).changes)
    for (const extent of extentsOf(change)) if ('chunk' in extent) wanted.add(extent.chunk)
  for (const block of blocks) for (const { id } of readBlockDirectory(block).entries) wanted.delete(id)
  return [...wanted]
}

/**
 * Blocks with chunks that the vault had once and has no more, as far as this machine still has them: in what is held for
 * the vault from that batch on, or in the files that they were read from, wherever those have been renamed since.
 */
export async function bringBack(
  lost: readonly ChunkId[],
  held: AsyncIterable<ShippedBatch>,
  chunkKey: Uint8Array,
): Promise<{ blocks: Uint8Array[]; missing: ReadonlySet<ChunkId> }> {
  const missing = new Set(lost)
  const found: Chunk[] = []
  const places: Place[] = []
  const take = (chunk: Chunk): void => {
    if (missing.delete(chunk.id)) found.push(chunk)
  }
  for await (const { bytes, blocks } of held) {
    for (const block of blocks) takeFrom(block, missing, take)
    if (missing.size === 0) break
    for (const { change } of decodeBatch(bytes).changes) follow(change, places, missing)
  }
  for (const place of places) {
    const data = missing.has(place.id) ? await readPlace(place) : undefined
    if (data && createHmac('sha256', chunkKey).update(data).digest('latin1') === place.id) take({ id: place.id, data })
  }
  return { blocks: blocksOf(found), missing }
}

function takeFrom(block: Uint8Array, missing: ReadonlySet<ChunkId>, take: (chunk: Chunk) => void): void {
  if (!readBlockDirectory(block).entries.some(({ id }) => missing.has(id))) return
  const { entries, body } = decodeBlock(block)
  for (const { id, at, bytes } of entries) if (missing.has(id)) take({ id, data: body.subarray(at, at + bytes) })
}

function follow(change: Change, places: Place[], missing: ReadonlySet<ChunkId>): void {
  if (change.kind === 'rename') {
    for (const place of places) {
      if (isWithin(place.path, change.from))
        place.path = (change.path + place.path.slice(change.from.length)) as TreePath
    }
  }
  for (const extent of extentsOf(change)) {
    if (!('chunk' in extent) || !missing.has(extent.chunk) || !('path' in change)) continue
    places.push({ id: extent.chunk, at: extent.at, bytes: extent.bytes, path: change.path })
  }
}

function extentsOf(change: Change): readonly Extent[] {
  if (change.kind === 'patch') return change.extents
  return change.kind === 'put' && change.content.type === 'file' ? change.content.extents : []
}

/** Undefined where there is no such file, or it is shorter; whether it holds what is wanted is for the caller to see. */
async function readPlace({ path, at, bytes }: Place): Promise<Buffer | undefined> {
  let file: FileHandle | undefined
  try {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    file = await open(Buffer.concat([Buffer.from('/'), toBuffer(path)]), flags)
    if (!(await file.stat()).isFile()) return undefined
    const data = Buffer.alloc(bytes)
    const { bytesRead } = await file.read(data, 0, bytes, at)
    return bytesRead === bytes ? data : undefined
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EACCES', 'EPERM', 'EIO', 'ENAMETOOLONG')) {
      return undefined
    }
    throw error
  } finally {
    await file?.close()
  }
}

function blocksOf(chunks: readonly Chunk[]): Uint8Array[] {
  const groups: Chunk[][] = []
  let bytes = 0
  for (const chunk of chunks) {
    const group = groups.at(-1)
    const fits = group && group.length < blockChunksMax && bytes + chunk.data.length <= blockBytesWanted
    bytes = chunk.data.length + (fits ? bytes : 0)
    if (fits) group.push(chunk)
    else groups.push([chunk])
  }
  return groups.map((group) => encodeBlock(group))
}
