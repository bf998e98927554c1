import { Malformed } from '../base/bytes.ts'
import { parseTimelineHistory } from '../format/postgres-wire/timeline-history.ts'
import {
  formatLsn,
  type Lsn,
  lsn,
  parseWalSegmentName,
  type Timeline,
  timeline,
  walSegmentName,
  walSegmentStart,
} from '../model/lsn.ts'
import type { Stretch } from './targets.ts'

/** A file below `wal/` that a recovery may ask for. */
export interface WalFile {
  readonly name: string
  readonly timeline: Timeline
  readonly start: Lsn
  readonly bytes: number
}

/** The history that leads to `of`, from the content of its history file; timeline 1 has none. */
export function historyOf(of: Timeline, content: Uint8Array | undefined): Stretch[] {
  const stretches: Stretch[] = []
  let start = lsn(0)
  for (const { timeline: on, leftAt } of parseTimelineHistory(content ?? new Uint8Array())) {
    if (leftAt < start) throw new Malformed(`history of timeline ${of} that goes back to ${formatLsn(leftAt)}`)
    stretches.push({ timeline: on, start, end: leftAt })
    start = leftAt
  }
  stretches.push({ timeline: of, start })
  return stretches
}

/** The parts of a history between two places. */
export const clip = (history: readonly Stretch[], from: Lsn, to?: Lsn): Stretch[] =>
  history.flatMap((one) => {
    const start = lsn(Math.max(one.start, from))
    const end = Math.min(one.end ?? Infinity, to ?? Infinity)
    if (start >= end) return []
    return [{ timeline: one.timeline, start, ...(end === Infinity ? {} : { end: lsn(end) }) }]
  })

/** Whether a baseline of `on` that ends at `end` is followed by what `history` tells. */
export const leadsTo = (history: readonly Stretch[], on: number, end: number): boolean =>
  history.some((one) => one.timeline === on && end >= one.start && (one.end === undefined || end <= one.end))

/** The newest timeline that the names in `wal/` tell of; undefined where there is no WAL. */
export function newestTimeline(names: Iterable<string>): Timeline | undefined {
  let newest = 0
  for (const name of names) {
    const told = /^([0-9A-F]{8})(?:[0-9A-F]{16}|\.history)$/.exec(name)?.[1]
    if (told !== undefined) newest = Math.max(newest, Number.parseInt(told, 16))
  }
  return newest === 0 ? undefined : timeline(newest)
}

/** The WAL of a history that is known without a gap. */
export interface WalReach {
  /** In the order in which recovery asks for it. */
  readonly files: readonly WalFile[]
  /** Up to where bytes are known. */
  readonly end: Lsn
}

/**
 * What stands in `wal/` of the WAL along `history`, from the segment that holds `from` on, up to the first that is absent or not
 * yet whole. Of several timelines a segment is taken from the newest that had begun by its end and has it, as PostgreSQL does it.
 */
export function reachAlong(
  sizes: ReadonlyMap<string, number>,
  history: readonly Stretch[],
  from: Lsn,
  segmentBytes: number,
): WalReach {
  const files: WalFile[] = []
  let start = walSegmentStart(from, segmentBytes)
  let end = from
  for (;;) {
    const file = history
      .filter((one) => walSegmentStart(one.start, segmentBytes) <= start && start < (one.end ?? Infinity))
      .map(({ timeline: on }) => ({ on, name: walSegmentName(on, start, segmentBytes) }))
      .findLast(({ name }) => sizes.has(name))
    if (file === undefined) break
    const bytes = sizes.get(file.name) as number
    files.push({ name: file.name, timeline: file.on, start, bytes })
    end = lsn(Math.max(end, start + Math.min(bytes, segmentBytes)))
    if (bytes < segmentBytes) break
    start = lsn(start + segmentBytes)
  }
  return { files, end }
}

/** The names of commit lists along a history, in its order; those between `from` and its end. */
export function listsAlong(names: Iterable<string>, history: readonly Stretch[], segmentBytes: number): string[] {
  const found: { name: string; rank: number; start: Lsn }[] = []
  for (const name of names) {
    if (!/^[0-9A-F]{24}$/.test(name)) continue
    const { timeline: on, start } = parseWalSegmentName(name, segmentBytes)
    const rank = history.findIndex((one) => one.timeline === on)
    const stretch = history[rank]
    if (stretch === undefined || start + segmentBytes <= stretch.start) continue
    if (stretch.end !== undefined && start >= stretch.end) continue
    found.push({ name, rank, start })
  }
  return found.sort((a, b) => a.rank - b.rank || a.start - b.start).map(({ name }) => name)
}
