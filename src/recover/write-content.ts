import { existsSync } from 'node:fs'
import { fetchContent } from './fetch.ts'
import type { Folders } from './folders.ts'
import { type Entry, type Group, groupsOf, type Work } from './groups.ts'
import { InFlight } from './in-flight.ts'
import { isFileInPlace, missingOf } from './in-place.ts'
import type { RestoreOrigin } from './origin.ts'
import { extentBytes, type Step } from './plan.ts'
import type { ProgressMeter } from './progress.ts'
import type { Tally } from './receipt.ts'
import type { RestoreLog } from './restore-log.ts'
import type { StateFolder } from './state-folder.ts'
import { nothingWritten, type Written } from './write-group.ts'
import type { Writers } from './writers.ts'

export interface ContentParts {
  readonly origin: RestoreOrigin
  readonly folders: Folders
  readonly state: StateFolder
  readonly writers: Writers
  readonly log: RestoreLog
  readonly progress: ProgressMeter
  readonly tally: Tally
}

/** Groups being fetched, waiting for a writer, or being written: what bounds the memory of a restore. */
const groupsInFlightMax = 4

/** Makes the folders, and everything in them but hard links. Folders stay open to their owner only for now. */
export async function writeContent(
  steps: AsyncIterable<Step>,
  parts: ContentParts,
  signal: AbortSignal,
): Promise<void> {
  const inFlight = new InFlight(groupsInFlightMax, signal)
  const largeFiles = new LargeFiles()
  for await (const work of groupsOf(steps)) {
    switch (work.kind) {
      case 'folder':
        parts.folders.make(work.path)
        parts.tally.directories++
        break
      case 'group': {
        const missing = missingFrom(work, parts)
        if (missing.length === 0) break
        const { ended } = await inFlight.start(() =>
          largeFiles.writing(missing, () => writeMissing(work, missing, parts, largeFiles)),
        )
        largeFiles.started(missing, ended)
        break
      }
      case 'large-file':
        await inFlight.start(() => completeLargeFile(work, parts, largeFiles))
    }
  }
  await inFlight.allEnded()
}

/** Counts what an earlier run has done, and returns the rest. */
function missingFrom(group: Group, { state, folders, tally, progress }: ContentParts): readonly Entry[] {
  if (!state.done.has(group.number)) return group.entries
  const missing = new Set(missingOf(group.entries, folders, state.begun))
  const inPlace = group.entries.filter((entry) => !missing.has(entry))
  const written = writtenOf(inPlace)
  tally.add(written)
  progress.skip(written.files, written.bytes)
  return [...missing]
}

async function writeMissing(group: Group, entries: readonly Entry[], parts: ContentParts, largeFiles: LargeFiles) {
  const { origin, writers, tally, progress, log } = parts
  const { pieces: content, damage } = await fetchContent(origin, entries)
  const written = await writers.run({ kind: 'group', entries, content })
  tally.add(written)
  tally.addDamage(damage)
  largeFiles.failed(entries, written)
  progress.add(written.files, written.bytes)
  if (written.failures.length === 0) await log.record(group.number)
}

async function completeLargeFile(
  file: Extract<Work, { kind: 'large-file' }>,
  { writers, folders, state, tally, progress }: ContentParts,
  largeFiles: LargeFiles,
): Promise<void> {
  if (!(await largeFiles.piecesEnded(file.file))) return
  if (!existsSync(state.staged(file.file)) && isFileInPlace(folders, file)) {
    tally.add({ ...nothingWritten, files: 1 })
    return progress.skip(1, 0)
  }
  const written = await writers.run(file)
  tally.add(written)
  progress.add(written.files, 0)
}

/** Which groups the pieces of a large file are in, and whether all of them came out right. */
class LargeFiles {
  readonly #pieces = new Map<number, Promise<void>[]>()
  readonly #failed = new Set<number>()

  started(entries: readonly Entry[], ended: Promise<void>): void {
    for (const entry of entries) {
      if (entry.kind !== 'piece') continue
      const pieces = this.#pieces.get(entry.file)
      if (pieces) pieces.push(ended)
      else this.#pieces.set(entry.file, [ended])
    }
  }

  /** A target that fails may lack any of these pieces: their files are not finished, but gone on with another time. */
  async writing(entries: readonly Entry[], work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      for (const entry of entries) if (entry.kind === 'piece') this.#failed.add(entry.file)
      throw error
    }
  }

  failed(entries: readonly Entry[], { failures }: Written): void {
    for (const entry of entries) {
      if (entry.kind === 'piece' && failures.some(({ path }) => path === entry.path)) this.#failed.add(entry.file)
    }
  }

  async piecesEnded(file: number): Promise<boolean> {
    await Promise.all(this.#pieces.get(file) ?? [])
    this.#pieces.delete(file)
    return !this.#failed.delete(file)
  }
}

function writtenOf(entries: readonly Entry[]): Written {
  const written = { files: 0, nodes: 0, bytes: 0, chunks: 0 }
  for (const entry of entries) {
    if (entry.kind === 'node') written.nodes++
    if (entry.kind === 'file') written.files++
    if (entry.kind === 'node') continue
    written.bytes += extentBytes(entry.extents)
    written.chunks += entry.extents.filter((extent) => 'chunk' in extent).length
  }
  return { ...nothingWritten, ...written }
}
