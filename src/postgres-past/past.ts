import { isCode, TidemarkError } from '../base/errors.ts'
import {
  type Baseline,
  baselinesPath,
  commitsFolder,
  decodeBaselines,
  historyPath,
  walFolder,
} from '../format/postgres-tree.ts'
import { lsn, type Timeline } from '../model/lsn.ts'
import { joinPath } from '../model/path.ts'
import { advance, type Sequence, sequence } from '../model/sequence.ts'
import type { RestorePoint } from '../model/recovery-point.ts'
import type { Stretch } from './targets.ts'
import { readWhole, type TreeReader } from './tree-reader.ts'
import { clip, historyOf, leadsTo, listsAlong, newestTimeline } from './wal-known.ts'

/**
 * A baseline and what followed it until the next one: the tree holds no more than one of them. A target belongs to the last
 * period that begins before it.
 */
export interface Period {
  readonly baseline: Baseline
  /** The last point at which the tree holds this baseline and its WAL. */
  readonly view: RestorePoint
  /** What can be recovered to from this baseline, and not from the next. */
  readonly stretches: readonly Stretch[]
}

/** Commit lists are read so many at a time. */
const readAheadMax = 8
/** From the end on, where the first one may be enough. */
const readBackMax = 2

/** What a source's journal tells of its past along one history, at one point. */
export class Past {
  readonly at: RestorePoint
  /** Of the cluster that the newest baseline is of. */
  readonly baselines: readonly Baseline[]
  readonly history: readonly Stretch[]
  readonly segmentBytes: number
  readonly #tree: TreeReader

  private constructor(tree: TreeReader, at: RestorePoint, baselines: readonly Baseline[], history: readonly Stretch[]) {
    this.#tree = tree
    this.at = at
    this.baselines = baselines
    this.history = history
    this.segmentBytes = (baselines.at(-1) as Baseline).segmentBytes
  }

  /** `branch` is the timeline that is meant; else the newest known at that point. */
  static async read(tree: TreeReader, point: string, branch?: Timeline): Promise<Past> {
    const at = await tree.resolve(point)
    const all = await readBaselines(tree, at.at)
    const newest = all.at(-1)
    const wal = await tree.list(walFolder, at.at)
    const names = wal.map(({ name }) => name)
    const on = branch ?? newestTimeline(names)
    if (newest === undefined || on === undefined) throw noBaseline()
    const file = historyPath(on)
    const content = names.some((name) => joinPath(walFolder, name) === file)
      ? await readWhole(tree, file, at.at)
      : undefined
    if (content === undefined && on > 1 && !all.some(({ timeline }) => timeline === on)) throw noTimeline(on)
    const baselines = all.filter(({ systemId }) => systemId === newest.systemId)
    return new Past(tree, at, baselines, historyOf(on, content))
  }

  get timeline(): Timeline {
    return (this.history.at(-1) as Stretch).timeline
  }

  /** From the newest to the oldest that the journal still holds. */
  async *periods(): AsyncGenerator<Period> {
    const along = this.baselines.filter(({ timeline, end }) => leadsTo(this.history, timeline, end))
    for (const [index, baseline] of [...along.entries()].reverse()) {
      const next = this.baselines.find((one) => one.sequence > baseline.sequence)
      const view = next === undefined ? this.at : await this.#kept(advance(sequence(next.sequence), -1))
      if (view === undefined) return
      const nextAlong = along[index + 1]
      const stretches = clip(this.history, lsn(baseline.end), nextAlong && lsn(nextAlong.end))
      yield { baseline, view, stretches }
    }
  }

  /** The one period that all of this point belongs to. */
  async newest(): Promise<Period> {
    for await (const period of this.periods()) return period
    throw noBaseline()
  }

  /** The point at which the folder of a baseline is read: as early as possible, so that it stands while the journal goes on. */
  async base({ baseline, view }: Period): Promise<RestorePoint> {
    return (await this.#kept(sequence(baseline.sequence))) ?? view
  }

  /** The commit lists of a period from its beginning on, in the order of its history. */
  async *lists(period: Period): AsyncGenerator<Buffer> {
    yield* this.#read(period, await this.listNames(period), readAheadMax)
  }

  /** The same from its end on: most of what is asked for is found soon. */
  async *listsFromEnd(period: Period): AsyncGenerator<Buffer> {
    yield* this.#read(period, (await this.listNames(period)).reverse(), readBackMax)
  }

  /** The names of the commit lists of a period, in the order of its history. */
  async listNames({ view, stretches }: Period): Promise<string[]> {
    const files = await this.#tree.list(commitsFolder, view.at)
    return listsAlong(
      files.map(({ name }) => name),
      stretches,
      this.segmentBytes,
    )
  }

  /** One commit list, or its first bytes. */
  readList({ view }: Period, name: string, bytesMax?: number): Promise<Buffer> {
    const range = bytesMax === undefined ? undefined : { from: 0, bytes: bytesMax }
    return readWhole(this.#tree, joinPath(commitsFolder, name), view.at, range)
  }

  async *#read(period: Period, names: readonly string[], readAhead: number): AsyncGenerator<Buffer> {
    const ahead: Promise<Buffer>[] = []
    for (let next = 0; next < names.length || ahead.length > 0;) {
      while (next < names.length && ahead.length < readAhead) {
        const reading = this.readList(period, names[next++] as string)
        // Told where it is awaited.
        reading.catch(() => {})
        ahead.push(reading)
      }
      yield await (ahead.shift() as Promise<Buffer>)
    }
  }

  async walSizes({ view }: Period): Promise<Map<string, number>> {
    const files = await this.#tree.list(walFolder, view.at)
    return new Map(files.map(({ name, bytes }) => [name, bytes]))
  }

  async #kept(at: Sequence): Promise<RestorePoint | undefined> {
    try {
      return await this.#tree.resolve(`seq:${at}`)
    } catch (error) {
      if (!isCode(error, 'point-unreachable')) throw error
      return undefined
    }
  }
}

export async function readBaselines(tree: TreeReader, at: Sequence): Promise<Baseline[]> {
  try {
    return decodeBaselines(await readWhole(tree, baselinesPath, at))
  } catch (error) {
    if (!isCode(error, 'not-found')) throw error
    return []
  }
}

const noBaseline = (): TidemarkError =>
  new TidemarkError('point-unreachable', {
    message: 'no baseline was complete at that point',
    hint: '"tidemark points SOURCE" shows when the first one was',
  })

const noTimeline = (on: Timeline): TidemarkError =>
  new TidemarkError('point-unreachable', {
    message: `the journal does not know how timeline ${on} came about`,
    hint: 'leave out @TIMELINE for the newest one; "tidemark ls SOURCE:/wal" lists what is known',
  })
