import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { isSystemError, TidemarkError } from '../../base/errors.ts'
import { syncFolder } from '../../base/sync-folder.ts'
import { moment } from '../../model/moment.ts'
import { formatSequence, parseSequence, type Sequence } from '../../model/sequence.ts'
import type { RestorePoint } from '../../model/recovery-point.ts'
import type { LaidOver } from './image.ts'

/**
 * What stands beside an image that is not whole, in `<target>.tidemark-restore`: which restore it is, and what of it is
 * written, checked and durable: first what stands in the journal, up to a change; then region after region. It is there
 * before the first byte is written, and goes when all are.
 */
export interface ImageState extends RestorePoint {
  readonly source: string
  /** Which file or device it is about, as the system knows it apart from another of the same name (image.ts). */
  readonly image: string
  /** Of the image. */
  readonly bytes: number
  readonly over: LaidOver
  /** What stands in changes up to there is written; undefined once all that stands in the journal is. */
  readonly journal: Sequence | undefined
  /** Bytes that came from the journal, by region. */
  readonly journalBytes: readonly number[]
  /** Numbers of the regions, of `imageRegionBytes` each, that need not be fetched again. */
  readonly done: ReadonlySet<number>
}

export const imageRegionBytes = 64 * 1024 * 1024
const version = 1

export const imageStateFile = (target: string): string => `${target}.tidemark-restore`

/** The restore that a target holds unfinished, if there is one. */
export function unfinishedImage(target: string): ImageState | undefined {
  const file = imageStateFile(target)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
  const told = read(text)
  if (told['version'] !== version || told['regionBytes'] !== imageRegionBytes) {
    throw new TidemarkError('unsupported-format', {
      message: `${file} is of a form that this version of Tidemark does not know`,
      hint: 'go on with the version that began this restore, or remove the file and begin again with --delta',
    })
  }
  return {
    source: told['source'] as string,
    at: parseSequence(told['at'] as string),
    moment: moment(told['moment'] as number),
    image: String(told['image']),
    bytes: told['bytes'] as number,
    over: told['over'] as LaidOver,
    journal: typeof told['journal'] === 'string' ? parseSequence(told['journal']) : undefined,
    journalBytes: told['journalBytes'] as number[],
    done: new Set(unpacked(told['done'] as string)),
  }
}

/** Nothing where it is no JSON. */
function read(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}

/** Durable, and the whole of it or the one before. */
export function keepImageState(target: string, { at, done, journal, ...state }: ImageState): void {
  const file = imageStateFile(target)
  const regions = Math.ceil(state.bytes / imageRegionBytes)
  const told = {
    version,
    regionBytes: imageRegionBytes,
    ...state,
    at: formatSequence(at),
    ...(journal === undefined ? {} : { journal: formatSequence(journal) }),
    done: packed(done, regions),
  }
  const descriptor = openSync(`${file}.part`, 'w', 0o600)
  try {
    // Written to its end, or it fails: the file system may be full of the image.
    writeFileSync(descriptor, `${JSON.stringify(told, null, 2)}\n`)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  renameSync(`${file}.part`, file)
  syncFolder(dirname(file))
}

export function dropImageState(target: string): void {
  if (!existsSync(imageStateFile(target))) return
  rmSync(imageStateFile(target))
  syncFolder(dirname(target))
}

/** A bit for each region, base64. */
function packed(done: ReadonlySet<number>, regions: number): string {
  const bits = Buffer.alloc(Math.ceil(regions / 8))
  for (const region of done) bits[region >> 3] = (bits[region >> 3] ?? 0) | (1 << (region & 7))
  return bits.toString('base64')
}

function* unpacked(text: string): Generator<number> {
  for (const [at, byte] of Buffer.from(text, 'base64').entries()) {
    for (let bit = 0; bit < 8; bit++) if (byte & (1 << bit)) yield at * 8 + bit
  }
}
