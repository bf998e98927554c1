import type { Clock } from '../../../base/clock.ts'
import { isCode, TidemarkError } from '../../../base/errors.ts'
import type { FollowedChange, FollowFrame } from '../../../format/follow.ts'
import { type Baseline, baselinesPath, historyPath, walFolder, walPath } from '../../../format/postgres-tree.ts'
import { parseTimelineHistory, type TimelineFork } from '../../../format/postgres-wire/timeline-history.ts'
import {
  advanceLsn,
  formatLsn,
  type Lsn,
  lsn,
  noLsn,
  parseWalSegmentName,
  type Timeline,
  timeline,
  walSegmentStart,
} from '../../../model/lsn.ts'
import { isWithin, joinPath, nameOf, parentOf, type TreePath } from '../../../model/path.ts'
import { advance, type Sequence } from '../../../model/sequence.ts'
import { readBaselines } from '../../../postgres-past/past.ts'
import { readWhole, type TreeReader } from '../../../postgres-past/tree-reader.ts'
import { notInHistory, segmentGone, type WalSource } from './wal-source.ts'

export interface JournalWalParts {
  readonly tree: TreeReader
  /**
   * The changes after a place in the journal that touch `wal/` or `baselines`, as they become durable. Ends only by throwing:
   * `unreachable` and the like where the line is cut, and then it is asked for again.
   */
  readonly follow: (after: Sequence, signal: AbortSignal) => AsyncIterable<Exclude<FollowFrame, { kind: 'end' }>>
  readonly clock: Clock
  /** Told whenever the vault cannot be reached (why), and when it can again (undefined). */
  readonly away?: (why: TidemarkError | undefined) => void
}

/** New WAL is kept in memory for readers that are up to date; others read it back from the journal. */
const recentBytesMax = 32 * 1024 * 1024
const retryMsMin = 100
const retryMsMax = 2000
/** Removed segments whose last place in the journal is remembered. */
const removedMax = 4096
const segmentName = /^[0-9A-F]{24}$/
const historyName = /^([0-9A-F]{8})\.history$/

interface Piece {
  readonly timeline: Timeline
  readonly start: Lsn
  readonly bytes: Uint8Array
}

/**
 * The WAL of a cluster out of the journal of its source: what is there is read through views, what comes is followed.
 *
 * Both sides of the joint are told by position (timeline and LSN), so nothing can be taken twice or left out: a reader takes
 * the bytes at its position from memory if they came lately, else from the tree as it stands after the last change that was
 * followed; WAL that a later baseline has made superfluous, from the tree before its removal.
 */
export class JournalWal implements WalSource, AsyncDisposable {
  readonly systemId: string
  readonly version: number
  readonly segmentBytes: number
  readonly #parts: JournalWalParts
  readonly #stop = new AbortController()
  readonly #sizes = new Map<string, number>()
  readonly #ends = new Map<Timeline, Lsn>()
  readonly #histories = new Map<Timeline, Buffer>()
  #forks: readonly TimelineFork[] = []
  /** Removed segments, and where in the journal they last were. */
  readonly #removed = new Map<string, { readonly at: Sequence; readonly bytes: number }>()
  #recent: Piece[] = []
  #recentBytes = 0
  #through: Sequence
  #stopAt: Sequence | undefined
  #failure: unknown
  #grown = Promise.withResolvers<void>()
  #following: Promise<void> = Promise.resolve()

  private constructor(parts: JournalWalParts, baseline: Baseline, at: Sequence) {
    this.#parts = parts
    this.systemId = baseline.systemId
    this.version = baseline.version
    this.segmentBytes = baseline.segmentBytes
    this.#through = at
  }

  /** From what is durable now on. `point-unreachable` where no baseline is complete yet. */
  static async open(parts: JournalWalParts): Promise<JournalWal> {
    const { tree } = parts
    const { at } = await tree.resolve('latest')
    const baseline = (await readBaselines(tree, at)).at(-1)
    if (baseline === undefined) {
      throw new TidemarkError('point-unreachable', {
        message: 'no baseline of this source is complete yet',
        hint: 'wait for it: "tidemark status" shows how far it is',
      })
    }
    const wal = new JournalWal(parts, baseline, at)
    for (const { name, bytes } of await tree.list(walFolder, at)) await wal.#saw(name, bytes, at)
    wal.#following = wal.#follow()
    return wal
  }

  /** Everything up to here has been followed. */
  get through(): Sequence {
    return this.#through
  }

  newest(): { readonly timeline: Timeline; readonly end: Lsn } {
    const newest = timeline(Math.max(1, ...this.#ends.keys(), ...this.#histories.keys()))
    return {
      timeline: newest,
      end: lsn(Math.max(this.#ends.get(newest) ?? noLsn, this.#forks.at(-1)?.leftAt ?? noLsn)),
    }
  }

  history(of: Timeline): Promise<Buffer | undefined> {
    return Promise.resolve(this.#histories.get(of))
  }

  async *read(on: Timeline, from: Lsn, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    for (let at = from; ;) {
      signal.throwIfAborted()
      if (this.#failure !== undefined) throw this.#failure
      const leftAt = this.#leftAt(on, at)
      if (at === leftAt) return
      const bytes = this.#recentAt(on, at)
      if (bytes !== undefined) {
        const piece = leftAt === undefined ? bytes : bytes.subarray(0, leftAt - at)
        at = advanceLsn(at, piece.length)
        yield piece
        continue
      }
      const stored = this.#stored(on, at, leftAt)
      if (stored !== undefined) {
        for await (const piece of this.#readStored(stored, signal)) {
          at = advanceLsn(at, piece.length)
          yield piece
        }
        continue
      }
      if (leftAt !== undefined || this.#isBehind(on, at)) throw segmentGone(on, at, this.segmentBytes)
      await this.#more(signal)
    }
  }

  /**
   * Follows up to what is durable at the moment, and then no farther: no reader gets more. Returns where that ends. What
   * becomes durable later is not of this copy any more.
   */
  async freeze(signal: AbortSignal): Promise<{ readonly timeline: Timeline; readonly end: Lsn }> {
    const { at } = await this.#parts.tree.resolve('latest')
    this.#stopAt = at
    while (this.#through < at && this.#failure === undefined) await this.#more(signal)
    if (this.#failure !== undefined) throw this.#failure
    this.#stop.abort(new Error('the copy is complete'))
    return this.newest()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('it is over'))
    await this.#following
  }

  async #more(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>()
    const stop = (): void => aborted.resolve()
    signal.addEventListener('abort', stop, { once: true })
    await Promise.race([this.#grown.promise, aborted.promise])
    signal.removeEventListener('abort', stop)
    signal.throwIfAborted()
  }

  #wake(): void {
    this.#grown.resolve()
    this.#grown = Promise.withResolvers()
  }

  /** Where the newest history left a timeline; undefined for the newest. */
  #leftAt(on: Timeline, at: Lsn): Lsn | undefined {
    if (on === this.newest().timeline) return undefined
    const fork = this.#forks.find((one) => one.timeline === on)
    if (fork === undefined || at > fork.leftAt) throw notInHistory(on, at, fork)
    return fork.leftAt
  }

  #recentAt(on: Timeline, at: Lsn): Uint8Array | undefined {
    const piece = this.#recent.findLast(
      (one) => one.timeline === on && one.start <= at && at < one.start + one.bytes.length,
    )
    return piece?.bytes.subarray(at - piece.start)
  }

  /** What the journal has of the segment at `at`, from there on. */
  #stored(on: Timeline, at: Lsn, leftAt: Lsn | undefined): Stored | undefined {
    const path = walPath(on, at, this.segmentBytes)
    const name = nameOf(path)
    const from = at % this.segmentBytes
    const removed = this.#removed.get(name)
    const known = Math.min(this.#sizes.get(name) ?? removed?.bytes ?? 0, this.segmentBytes)
    const bytes = Math.min(known, leftAt === undefined ? known : leftAt - walSegmentStart(at, this.segmentBytes)) - from
    if (bytes <= 0) return undefined
    return { path, view: this.#sizes.has(name) ? this.#through : (removed?.at ?? this.#through), from, bytes }
  }

  /** Whether later WAL of the timeline is here already, so that what comes next will not come any more. */
  #isBehind(on: Timeline, at: Lsn): boolean {
    return at < (this.#ends.get(on) ?? noLsn)
  }

  async *#readStored({ path, view, from, bytes }: Stored, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    let done = 0
    for (let retryMs = retryMsMin; ; retryMs = Math.min(retryMs * 2, retryMsMax)) {
      try {
        for await (const piece of this.#parts.tree.read(path, view, { from: from + done, bytes: bytes - done })) {
          done += piece.length
          yield piece
        }
        if (done === bytes) return
        throw new TidemarkError('damaged', {
          message: `the vault gave ${done} of ${bytes} bytes of ${path}`,
          hint: 'run "tidemark verify" on the vault',
        })
      } catch (error) {
        if (!isPassing(error)) throw error
        await this.#parts.clock.sleep(retryMs, signal)
      }
    }
  }

  async #follow(): Promise<void> {
    const { follow, clock, away } = this.#parts
    const { signal } = this.#stop
    for (let retryMs = retryMsMin; !signal.aborted; retryMs = Math.min(retryMs * 2, retryMsMax)) {
      try {
        for await (const frame of follow(this.#through, signal)) {
          if (retryMs > retryMsMin) away?.(undefined)
          retryMs = retryMsMin
          await this.#take(frame)
          if (this.#stopAt !== undefined && this.#through >= this.#stopAt) return
        }
      } catch (error) {
        if (signal.aborted) return
        if (!isPassing(error)) {
          this.#failure = error
          return this.#wake()
        }
        away?.(error)
        await clock.sleep(retryMs, signal).catch(() => undefined)
      }
    }
  }

  async #take(frame: Exclude<FollowFrame, { kind: 'end' }>): Promise<void> {
    for (const one of frame.kind === 'changes' ? frame.changes : []) {
      await this.#apply(one)
      // At once: what is known of sizes must be there at the place where it is read.
      this.#through = one.sequence
    }
    this.#through = frame.through
    this.#wake()
  }

  async #apply({ sequence, change }: FollowedChange): Promise<void> {
    if (change.kind === 'mark') return
    if (change.path === baselinesPath) return await this.#checkSystem(sequence)
    if (change.kind === 'remove') return this.#remove(change.path, sequence)
    if (parentOf(change.path) !== walFolder) return
    const name = nameOf(change.path)
    if (change.kind === 'write' && segmentName.test(name)) this.#appended(name, change.at, change.data)
    else if (change.kind === 'put' && change.content.type === 'file') {
      await this.#saw(name, change.content.bytes, sequence)
    } else if (change.kind === 'write') await this.#saw(name, change.at + change.data.length, sequence)
  }

  #appended(name: string, offset: number, bytes: Uint8Array): void {
    const { timeline: on, start } = parseWalSegmentName(name, this.segmentBytes)
    const at = advanceLsn(start, offset)
    this.#grow(name, offset + bytes.length)
    this.#recent.push({ timeline: on, start: at, bytes })
    this.#recentBytes += bytes.length
    while (this.#recentBytes > recentBytesMax) this.#recentBytes -= (this.#recent.shift() as Piece).bytes.length
  }

  /** A file of `wal/` with at least so many bytes. */
  async #saw(name: string, bytes: number, at: Sequence): Promise<void> {
    if (segmentName.test(name)) return this.#grow(name, bytes)
    const of = historyName.exec(name)?.[1]
    if (of === undefined) return
    const which = timeline(Number.parseInt(of, 16))
    this.#histories.set(which, await readWhole(this.#parts.tree, historyPath(which), at))
    const newest = this.#histories.get(this.newest().timeline)
    this.#forks = newest === undefined ? [] : parseTimelineHistory(newest)
  }

  #grow(name: string, bytes: number): void {
    const { timeline: on, start } = parseWalSegmentName(name, this.segmentBytes)
    const size = Math.max(this.#sizes.get(name) ?? 0, bytes)
    this.#sizes.set(name, size)
    this.#ends.set(on, lsn(Math.max(this.#ends.get(on) ?? noLsn, start + Math.min(size, this.segmentBytes))))
  }

  #remove(path: TreePath, at: Sequence): void {
    for (const [name, bytes] of this.#sizes) {
      if (!isWithin(joinPath(walFolder, name), path)) continue
      this.#sizes.delete(name)
      this.#removed.set(name, { at: advance(at, -1), bytes })
    }
    for (const name of this.#removed.keys()) {
      if (this.#removed.size <= removedMax) break
      this.#removed.delete(name)
    }
  }

  /** A source whose server was made anew goes on in the same journal. */
  async #checkSystem(at: Sequence): Promise<void> {
    const baseline = (await readBaselines(this.#parts.tree, at)).at(-1)
    if (baseline === undefined || baseline.systemId === this.systemId) return
    throw new TidemarkError('database-log-gap', {
      message: `the source is another cluster now (system ${baseline.systemId}, not ${this.systemId})`,
      hint: `make the standby anew in an empty directory; this one stands at ${formatLsn(this.newest().end)}`,
    })
  }
}

interface Stored {
  readonly path: TreePath
  /** The place in the journal at which it is read. */
  readonly view: Sequence
  readonly from: number
  readonly bytes: number
}

/** The vault is being started again, or the line mended. */
const isPassing = (error: unknown): error is TidemarkError =>
  isCode(error, 'unreachable') || isCode(error, 'not-running') || isCode(error, 'interrupted')
