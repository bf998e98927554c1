import type { Clock } from '../../../base/clock.ts'
import { isCode, messageOf } from '../../../base/errors.ts'
import { Wake } from '../../../base/wake.ts'
import type { Problem } from '../../../model/report.ts'
import { applyLayer } from './applier.ts'
import type { Backing } from './files.ts'
import type { History } from './history.ts'
import { segmentsMin, type VolumeLimits } from './limits.ts'
import type { VolumeLog } from './log.ts'
import type { PendingBlocks } from './pending.ts'
import { isNoRoom } from './room.ts'
import type { UnderWay } from './under-way.ts'
import type { UnsentBytes } from './unsent.ts'
import { wokenWithin } from './woken.ts'

export interface UpkeepParts {
  readonly log: VolumeLog
  readonly history: History
  readonly pending: PendingBlocks
  readonly unsent: UnsentBytes
  readonly backing: Backing
  readonly underWay: UnderWay
  readonly clock: Clock
  readonly limits: VolumeLimits
  readonly logBytesMax: number
  readonly problems: Map<string, Problem>
  /** Somebody waits for a sync of the log. */
  readonly isHurried: () => boolean
  /** Changes wait for room. */
  readonly isPressed: () => boolean
  readonly mayGiveUp: () => boolean
  /** `isVaultWanted` has begun, perhaps. */
  readonly vaultWanted: () => void
  /** The log is synced further. */
  readonly synced: () => void
  /** There may be room for what waits. */
  readonly room: () => void
  readonly epoch: () => void
}

/**
 * What goes on behind the requests, each beside the others:
 *
 * - the log is synced: soon, or at once where somebody waits;
 * - what is synced is written to the backing;
 * - checkpoints: the backing is synced, and the place notes how far it holds everything;
 * - when nothing is written for a moment the place notes how far the log is synced, which no later record says;
 * - a spare segment is kept, by a new file, by one that nobody needs, or by giving up history.
 */
export class Upkeep {
  readonly #parts: UpkeepParts
  readonly #changed = new Wake()
  /** Of the sync of the log alone: it is woken for each request, the others are not. */
  readonly #unsynced = new Wake()
  /** Nothing is left to sync. */
  readonly #settled = new Wake()
  /** Its next sync waits for more; only somebody who waits makes it begin earlier. */
  #isSyncDelayed = false
  logBytesMax: number
  /** The backing has been given everything up to here. */
  #applied: number
  /** A checkpoint is wanted now. */
  #isCheckpointWanted = false
  #isFinishing = false
  /** What is to be noted, and finds no room. */
  readonly #waitForRoom = new Set<() => Promise<unknown>>()

  constructor(parts: UpkeepParts) {
    this.#parts = parts
    this.logBytesMax = parts.logBytesMax
    this.#applied = parts.history.checkpoint
  }

  /** Changes wait for room in the log until the vault has spoken. */
  get isVaultWanted(): boolean {
    const { log, history, isPressed, mayGiveUp } = this.#parts
    return isPressed() && !log.hasSpare && history.keepsOldest && !mayGiveUp()
  }

  /** There is something to sync, or something waits for room. */
  written(): void {
    const { log, isHurried, isPressed } = this.#parts
    if (!this.#isSyncDelayed || isHurried()) this.#unsynced.wake()
    if (!log.hasSpare || isPressed()) this.#changed.wake()
  }

  /** Segments may have become free. */
  acknowledged(): void {
    this.#changed.wake()
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#parts.history.noteBy((work) => this.#untilRoom(work, signal))
    await Promise.all([
      this.#sync(signal),
      this.#apply(signal),
      this.#checkpoint(signal),
      this.#keepRoom(signal),
      this.#noteSynced(signal),
      this.#learn(signal),
    ])
  }

  /** Resolves when everything is in the backing, and noted as such. */
  async finish(signal: AbortSignal): Promise<void> {
    const { log, history } = this.#parts
    this.#isFinishing = true
    this.#isCheckpointWanted = true
    this.#unsynced.wake()
    this.#changed.wake()
    while (history.checkpoint < log.last) await this.#changed.wait(signal)
    await history.save()
  }

  async #sync(signal: AbortSignal): Promise<void> {
    const { log, pending, unsent, underWay, limits, clock, isHurried } = this.#parts
    for (;;) {
      signal.throwIfAborted()
      if (log.synced === log.last) {
        await this.#unsynced.wait(signal)
        continue
      }
      const dueMs = clock.monotonicMs() + limits.syncMs
      this.#isSyncDelayed = true
      while (!isHurried() && !this.#isFinishing && clock.monotonicMs() < dueMs) {
        await wokenWithin(this.#unsynced, clock, dueMs - clock.monotonicMs(), signal)
      }
      this.#isSyncDelayed = false
      pending.syncBegins()
      const { appendedBytes } = log
      await underWay.watch('log', 'sync', log.sync())
      pending.syncEnds(log.synced)
      unsent.synced(log.synced, appendedBytes)
      if (log.synced === log.last) this.#settled.wake()
      this.#parts.synced()
      this.#parts.room()
      this.#changed.wake()
    }
  }

  async #apply(signal: AbortSignal): Promise<void> {
    const { log, pending, backing, underWay, limits, clock, isPressed, problems } = this.#parts
    for (;;) {
      signal.throwIfAborted()
      if (pending.synced.isEmpty) {
        // Flushes and marks leave nothing to write.
        if (this.#applied < pending.syncedUpTo) {
          this.#applied = pending.syncedUpTo
          this.#changed.wake()
        }
        await this.#changed.wait(signal)
        continue
      }
      const dueMs = clock.monotonicMs() + limits.applyMs
      const isDue = (): boolean =>
        isPressed() ||
        this.#isCheckpointWanted ||
        pending.synced.weight >= limits.applyAt ||
        clock.monotonicMs() >= dueMs
      while (!isDue()) await wokenWithin(this.#changed, clock, dueMs - clock.monotonicMs(), signal)
      const upTo = pending.syncedUpTo
      try {
        await underWay.watch('backing', 'write', applyLayer(pending.synced, { log, backing }))
      } catch (error) {
        if (!isNoRoom(error)) throw error
        // All of it is in the log, and stays there.
        problems.set('backing-full', {
          code: 'backing-full',
          message: `what was written does not fit into the backing: ${messageOf(error)}; writers wait`,
          hint: 'make room on the file system that holds it; the volume goes on by itself',
        })
        await clock.sleep(limits.retryMs, signal)
        continue
      }
      problems.delete('backing-full')
      this.#applied = upTo
      this.#parts.room()
      this.#changed.wake()
    }
  }

  async #checkpoint(signal: AbortSignal): Promise<void> {
    const { history, backing, underWay, limits, clock } = this.#parts
    for (;;) {
      signal.throwIfAborted()
      if (this.#applied === history.checkpoint) {
        await this.#changed.wait(signal)
        continue
      }
      const dueMs = clock.monotonicMs() + limits.checkpointMs
      while (!this.#isCheckpointWanted && clock.monotonicMs() < dueMs) {
        await wokenWithin(this.#changed, clock, dueMs - clock.monotonicMs(), signal)
      }
      const upTo = this.#applied
      await underWay.watch('backing', 'sync', backing.sync())
      await history.checkpointAt(upTo)
      if (!this.#isFinishing) this.#isCheckpointWanted = false
      this.#changed.wake()
    }
  }

  /** Each record says how far the log was synced before it: of the last ones there has to be another word, or damage of them is a torn tail. */
  async #noteSynced(signal: AbortSignal): Promise<void> {
    const { log, history, clock, limits } = this.#parts
    for (;;) {
      signal.throwIfAborted()
      const { last, synced } = log
      if (synced === history.notedSynced || synced < last) {
        await this.#settled.wait(signal)
        continue
      }
      await clock.sleep(limits.noteMs, signal)
      if (log.last === last && history.notedSynced < synced) await history.save()
    }
  }

  async #keepRoom(signal: AbortSignal): Promise<void> {
    const { log, history, problems, clock, limits } = this.#parts
    for (;;) {
      signal.throwIfAborted()
      const hadSpare = log.hasSpare
      const hasRecycled = await this.#untilRoom(() => history.recycle(), signal)
      if (!log.hasSpare && this.#mayGrow) {
        if (await log.makeSpare()) problems.delete('volume-log-full')
        else if (!(await this.#makeDo(signal))) continue
      } else if (!log.hasSpare && !(await this.#makeDo(signal))) {
        continue
      }
      if (log.hasSpare && (!hadSpare || this.#isDiskFull)) this.#parts.room()
      if (this.isVaultWanted) this.#parts.vaultWanted()
      // Nobody tells when there is room again.
      if (!hasRecycled) await wokenWithin(this.#changed, clock, this.#isDiskFull ? limits.retryMs : undefined, signal)
    }
  }

  /** Changes wait although the log has a segment for them, or may make one. */
  get #isDiskFull(): boolean {
    const { log, pending, limits, isPressed } = this.#parts
    return isPressed() && pending.weight < limits.pendingMax && (log.hasSpare || this.#mayGrow)
  }

  /** Looks into the segments that were there before, so that history can be given up without delay. */
  async #learn(signal: AbortSignal): Promise<void> {
    const { log, history } = this.#parts
    for (;;) {
      signal.throwIfAborted()
      const [segment] = history.unknownSegments()
      if (segment === undefined) return
      try {
        await log.learnRegions(segment)
      } catch (error) {
        if (!isCode(error, 'damaged')) throw error
        return await this.lostHistory(messageOf(error))
      }
    }
  }

  /** Part of what the vault has not got can be had no more, and it is not known what. */
  async lostHistory(why: string): Promise<void> {
    this.#parts.problems.set('volume-log-damaged', historyDamaged(why))
    await this.#parts.history.giveUpAll()
    this.#parts.epoch()
    this.#changed.wake()
  }

  get #mayGrow(): boolean {
    const { log, limits } = this.#parts
    return log.segments.length + 1 <= Math.max(segmentsMin, Math.floor(this.logBytesMax / limits.segmentBytes))
  }

  /** The log cannot grow: something of it has to go. False where it is to be looked at again at once. */
  async #makeDo(signal: AbortSignal): Promise<boolean> {
    const { log, history, problems } = this.#parts
    if (log.segments.length < 2) {
      problems.set('volume-log-full', logFullProblem)
      return true
    }
    if (history.keepsOldest) {
      if (!this.#parts.mayGiveUp()) {
        problems.set('volume-log-full', logFullProblem)
        return true
      }
      problems.delete('volume-log-full')
      await history.giveUp()
      this.#parts.epoch()
      return false
    }
    this.#isCheckpointWanted = true
    this.#changed.wake()
    await this.#changed.wait(signal)
    return false
  }

  /** Tries it until there is room beside the log; what waits for it waits, and the rest goes on. */
  async #untilRoom<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const { problems, clock, limits } = this.#parts
    try {
      for (;;) {
        try {
          return await work()
        } catch (error) {
          if (!isCode(error, 'no-space')) throw error
          problems.set('no-room-to-note', nothingNotedProblem)
          this.#waitForRoom.add(work)
          await clock.sleep(limits.retryMs, signal)
        }
      }
    } finally {
      this.#waitForRoom.delete(work)
      if (this.#waitForRoom.size === 0) problems.delete('no-room-to-note')
    }
  }
}

const logFullProblem: Problem = {
  code: 'volume-log-full',
  message: 'there is no room for the log of the volume, and writes wait',
  hint: 'see to the line, and to the vault, or make room on the file system of the log and raise its limit',
}

const nothingNotedProblem: Problem = {
  code: 'volume-log-full',
  message: 'there is no room to note where the volume stands: it goes on as long as its log has room, then writes wait',
  hint: 'make room on the file system of the log; the volume goes on by itself',
}

export const historyDamaged = (why: string): Problem => ({
  code: 'volume-log-damaged',
  message: `the log of the volume has lost what the vault has not got: ${why}; the volume is whole, and is compared with the vault`,
  hint: 'see to the disk of the log',
})
