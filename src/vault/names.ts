import { Malformed } from '../base/bytes.ts'
import { formatSequence, parseSequence, type Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import type { StoreName } from '../store/store.ts'

/** Where everything of a vault stands in its store. Numbers are 16 hexadecimal digits, so that names list in order. */
export const vaultName: StoreName = 'vault.json'
export const packsFolder = 'packs'
export const registryFolder = 'registry'

export const journalFolder = (source: Id): string => `journals/${source}`
export const segmentName = (source: Id, number: number): StoreName =>
  `${journalFolder(source)}/${formatNumber(number)}.segment`
export const checkpointName = (source: Id, at: Sequence): StoreName =>
  `${journalFolder(source)}/checkpoints/${formatSequence(at)}.checkpoint`
export const packName = (number: number): StoreName => `${packsFolder}/${formatNumber(number)}.pack`

/** The number in the name of a segment or pack, or the sequence in that of a checkpoint; undefined for another name. */
export function numberIn(name: StoreName, kind: 'segment' | 'pack' | 'checkpoint'): number | undefined {
  const file = name.slice(name.lastIndexOf('/') + 1)
  if (!file.endsWith(`.${kind}`)) return undefined
  try {
    return parseSequence(file.slice(0, -kind.length - 1))
  } catch (error) {
    if (error instanceof Malformed) return undefined
    throw error
  }
}

const formatNumber = (value: number): string => value.toString(16).padStart(16, '0')
