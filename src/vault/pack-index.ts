import { isCode } from '../base/errors.ts'
import { readBlockDirectory } from '../format/block.ts'
import {
  decodePackIndex,
  encodePackIndex,
  groupEntries,
  type PackEntry,
  readBlockPayload,
  readClaimPayload,
} from '../format/pack.ts'
import { frameOverheadBytes, type Seal, sealFrameBytes } from '../format/sealed-file.ts'
import { damaged, readStored } from '../store/damaged.ts'
import type { Frame, SealedReader } from '../store/sealed-reader.ts'
import type { ClosingFrame } from '../store/sealed-writer.ts'
import type { StoreName } from '../store/store.ts'

/** The closing frames of a pack that holds these. */
export const packIndex = (entries: readonly PackEntry[]): ClosingFrame[] =>
  groupEntries(entries).map((group) => ({ type: 'pack-index', payload: (before) => encodePackIndex(before, group) }))

/** What the index says of a frame. */
export function entryOf(name: StoreName, { type, at, bytes, payload }: Frame): PackEntry {
  return readStored(name, at, () => {
    if (type === 'claim') return { kind: 'claim', frameAt: at, frameBytes: bytes, ...readClaimPayload(payload) }
    const { holder, block } = readBlockPayload(payload)
    return { kind: 'block', frameAt: at, frameBytes: bytes, holder, chunks: readBlockDirectory(block).entries }
  })
}

/** What a sealed pack holds: by its own index or, where that is damaged and nothing else is, by its frames. */
export async function readPackIndex(file: SealedReader): Promise<PackEntry[]> {
  const seal = await file.seal()
  if (!seal) throw damaged(file.name, sealFrameBytes, 'it has no seal')
  try {
    return await readIndex(file, seal)
  } catch (error) {
    const entries = isCode(error, 'damaged') ? await readFrames(file, seal) : undefined
    if (entries === undefined) throw error
    return entries
  }
}

async function readIndex(file: SealedReader, seal: Seal): Promise<PackEntry[]> {
  const groups: PackEntry[][] = []
  for (let at = seal.lastFrameAt, end = seal.bytes; at !== 0;) {
    if (at >= end) throw damaged(file.name, end, 'its index refers forward')
    const frame = await file.frame(at, end - at)
    const { before, entries } = readStored(file.name, at, () => decodePackIndex(frame.payload))
    groups.unshift(entries)
    end = at
    at = before
  }
  return groups.flat()
}

/** Undefined where more is damaged than the index. */
async function readFrames(file: SealedReader, seal: Seal): Promise<PackEntry[] | undefined> {
  const entries: PackEntry[] = []
  const scan = file.scan()
  try {
    for (let frame = await scan.next(); frame && frame.type !== 'pack-index'; frame = await scan.next()) {
      entries.push(entryOf(file.name, frame))
    }
  } catch (error) {
    if (!isCode(error, 'damaged')) throw error
  }
  // With a frame less the index would be smaller too: only that of all frames reaches from their end to the seal.
  const indexBytes = packIndex(entries).reduce((sum, { payload }) => sum + frameOverheadBytes + payload(0).length, 0)
  return scan.dataEnd.at + indexBytes === seal.bytes ? entries : undefined
}
