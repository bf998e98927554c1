import {
  type CommitListEntry,
  CommitListWriter,
  commitListOf,
  commitListPath,
  isCommitListEntry,
} from '../../format/commits.ts'
import { walPath } from '../../format/postgres-tree.ts'
import { WalScanner } from '../../format/wal/scanner.ts'
import { writeBytesMax } from '../../model/batch.ts'
import type { Change } from '../../model/change.ts'
import { advanceLsn, formatLsn, type Lsn, type Timeline } from '../../model/lsn.ts'
import type { TreePath } from '../../model/path.ts'
import type { LogState } from './cursor.ts'

type Place = Pick<LogState, 'systemId' | 'segmentBytes' | 'version' | 'entriesFrom'> & {
  readonly timeline: Timeline
  readonly start: Lsn
}

/** Makes the changes of one stretch of WAL: its bytes go to their segments, what ends in it to the commit lists. */
export class WalAppender {
  readonly #place: Place
  #position: Lsn
  #scanner: WalScanner
  #list: CommitListWriter | undefined
  #damage: string | undefined

  private constructor(place: Place, position: Lsn, scanner: WalScanner, list: CommitListWriter | undefined) {
    this.#place = place
    this.#position = position
    this.#scanner = scanner
    this.#list = list
  }

  /** From the start of a segment on. */
  static begin(place: Place): WalAppender {
    return new WalAppender(place, place.start, scannerAt(place, place.start), undefined)
  }

  static resume(place: Place, position: Lsn, { scanner, list }: Pick<LogState, 'scanner' | 'list'>): WalAppender {
    return new WalAppender(
      place,
      position,
      scanner.length === 0 ? scannerAt(place, position) : WalScanner.resume(scanner),
      list.length === 0 ? undefined : CommitListWriter.resume(list),
    )
  }

  get position(): Lsn {
    return this.#position
  }

  /** Where commits may be missing from the lists, because the WAL was not what it should be. */
  get damage(): string | undefined {
    return this.#damage
  }

  snapshot(): Pick<LogState, 'scanner' | 'list'> {
    return { scanner: this.#scanner.snapshot(), list: this.#list?.snapshot() ?? new Uint8Array() }
  }

  /** `bytes` follow what was appended before; the changes refer to them. */
  append(bytes: Uint8Array): Change[] {
    const at = this.#position
    const changes: Change[] = []
    for (let done = 0; done < bytes.length;) {
      const { timeline, segmentBytes } = this.#place
      const start = advanceLsn(at, done)
      const inSegment = start % segmentBytes
      const count = Math.min(bytes.length - done, writeBytesMax, segmentBytes - inSegment)
      const path = walPath(timeline, start, segmentBytes)
      changes.push({ kind: 'write', path, at: inSegment, data: bytes.subarray(done, done + count) })
      done += count
    }
    this.#position = advanceLsn(at, bytes.length)
    changes.push(...this.#listed(this.#scan(bytes, at)))
    return changes
  }

  #scan(bytes: Uint8Array, at: Lsn): CommitListEntry[] {
    const entries = this.#scanner
      .push(bytes, at)
      .filter(isCommitListEntry)
      .filter(({ start }) => start >= this.#place.entriesFrom)
    const { ended } = this.#scanner
    if (ended !== undefined) {
      this.#damage = `the WAL at ${formatLsn(ended.seen)} is ${ended.reason} (${ended.found})`
      this.#scanner = scannerAt(this.#place, this.#position)
    }
    return entries
  }

  #listed(entries: readonly CommitListEntry[]): Change[] {
    const { timeline, segmentBytes, systemId, version } = this.#place
    const changes: Change[] = []
    for (let from = 0, to = 0; from < entries.length; from = to) {
      const segmentStart = commitListOf(entries[from] as CommitListEntry, segmentBytes)
      while (to < entries.length && commitListOf(entries[to] as CommitListEntry, segmentBytes) === segmentStart) to++
      if (this.#list?.header.segmentStart !== segmentStart) {
        const major = Math.floor(version / 10_000)
        this.#list = new CommitListWriter({ major, systemIdentifier: systemId, timeline, segmentBytes, segmentStart })
      }
      const before = this.#list.length
      const made = this.#list.append(entries.slice(from, to))
      changes.push(...writes(commitListPath(timeline, segmentStart, segmentBytes) as TreePath, before, made))
    }
    return changes
  }
}

function writes(path: TreePath, start: number, bytes: Uint8Array): Change[] {
  const count = Math.ceil(bytes.length / writeBytesMax)
  return Array.from({ length: count }, (_, index) => ({
    kind: 'write',
    path,
    at: start + index * writeBytesMax,
    data: bytes.subarray(index * writeBytesMax, (index + 1) * writeBytesMax),
  }))
}

function scannerAt({ segmentBytes, systemId, version }: Place, start: Lsn): WalScanner {
  const systemIdentifier = systemId
  return new WalScanner({ start, segmentBytes, major: Math.floor(version / 10_000), systemIdentifier })
}
