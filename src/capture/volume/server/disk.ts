import { unreachable } from '../../../base/assert.ts'
import { messageOf } from '../../../base/errors.ts'
import { Wake } from '../../../base/wake.ts'
import { labelBytesMax, type RecordDraft, type RecordNumber } from '../../../format/volume-log.ts'
import { moment } from '../../../model/moment.ts'
import type { Problem } from '../../../model/report.ts'
import type { VolumeSettings } from '../../../model/source.ts'
import type { Export, ExportExtent, ExportRequest } from '../../../nbd/export.ts'
import type { LogAddress } from './block-layer.ts'
import { type Change, type Own, type OwnDraft, ownTag } from './change.ts'
import { requestsAtOnce } from './limits.ts'
import { type OpenedVolume, openVolume, type VolumeDiskParts } from './open.ts'
import { VolumeReads } from './reads.ts'
import { regionBytes } from './regions.ts'
import { Upkeep } from './upkeep.ts'
import { UnderWay } from './under-way.ts'
import { UnprotectedSpan } from './unprotected.ts'
import { WaitingAnswers } from './waiting.ts'
import { wokenWithin } from './woken.ts'
import { ZeroLossGate } from './zero-loss.ts'

/**
 * A protected volume, as decided in docs/decisions/0009-volumes.md: the one that gives requests their order.
 *
 * | what                       | when                                                        |
 * |----------------------------|-------------------------------------------------------------|
 * | a change gets its number   | in `take`, by one write of the log; readers see it from then on |
 * | it is answered             | then; a flush or a forced one when `durable` (and acknowledged, at zero loss) has reached it |
 * | it is written to the backing | once the log is synced past it (`Upkeep`)                 |
 * | it leaves the log          | when a checkpoint and the vault's word, or `touched`, have passed it |
 *
 * Where the log or the memory of pending blocks has no room changes wait, in their order; reads never do.
 */
export class VolumeDisk implements Export, AsyncDisposable {
  readonly name: string
  readonly description = 'protected volume'
  readonly isReadOnly = false
  readonly hasFastZero = true
  readonly regionBytes = regionBytes
  readonly #parts: VolumeDiskParts
  readonly #volume: OpenedVolume
  #bytes: number
  readonly #gate: ZeroLossGate
  readonly #unprotected: UnprotectedSpan
  readonly #reads: VolumeReads
  readonly #underWay: UnderWay
  readonly #upkeep: Upkeep
  readonly #answers = new WaitingAnswers()
  readonly #waiting: Change[] = []
  readonly #stop = new AbortController()
  readonly #vaultSpoke = new Wake()
  /** No change since the last flush that is in the log. */
  #isFlushed = false
  #failure: { readonly error: unknown } | undefined
  readonly #running: Promise<unknown>

  private constructor(parts: VolumeDiskParts, volume: OpenedVolume) {
    const { clock, settings, files } = parts
    this.#parts = parts
    this.#volume = volume
    this.#bytes = volume.bytes
    this.name = parts.name
    this.#gate = new ZeroLossGate(clock, settings.zeroLoss)
    this.#unprotected = new UnprotectedSpan({
      history: volume.history,
      mark: (label, marked) => {
        parts.told.unprotected?.(label)
        this.#takeOwn({ kind: 'mark', tag: ownTag, label, taken: marked, failed: () => {} })
      },
      failed: (error) => this.#fail(error),
    })
    const { backing } = files
    const underWay = (this.#underWay = new UnderWay(clock))
    this.#reads = new VolumeReads({ ...volume, backing, underWay })
    this.#upkeep = new Upkeep({
      ...volume,
      clock,
      backing,
      underWay,
      logBytesMax: settings.logBytesMax,
      isHurried: () => this.#waiting.length > 0 || !this.#answers.isEmpty,
      isPressed: () => this.#waiting.length > 0,
      mayGiveUp: () => !this.#gate.isWaiting,
      vaultWanted: () => this.#vaultSpoke.wake(),
      synced: () => this.#synced(),
      room: () => this.#admit(),
      epoch: () => this.#newEpoch(),
    })
    // If there is one, the server before this one has not told it.
    this.#unprotected.over(moment(clock.now()))
    const { signal } = this.#stop
    this.#running = Promise.all([this.#upkeep.run(signal), this.#degrade(signal)]).catch((error: unknown) => {
      if (!signal.aborted) this.#fail(error)
    })
  }

  /** Recovers from whatever ended the server before. `damaged` where no state can be made that the volume had. */
  static async open(parts: VolumeDiskParts): Promise<VolumeDisk> {
    return new VolumeDisk(parts, await openVolume(parts))
  }

  get bytes(): number {
    return this.#bytes
  }

  get epoch(): number {
    return this.#volume.history.epoch
  }

  /** The first record of the epoch that the log still has, or would have. */
  get first(): RecordNumber {
    const oldest = this.#volume.log.segments[0]?.first ?? 1
    return Math.max(this.#volume.history.first, oldest) as RecordNumber
  }

  /** The last record there is: reads have seen nothing newer. */
  get last(): RecordNumber {
    return this.#volume.log.last
  }

  get durable(): RecordNumber {
    return this.#volume.history.durable
  }

  get acknowledgedPlace(): { readonly epoch: number; readonly number: number } {
    return this.#volume.history.acknowledged
  }

  get logBytes(): number {
    return this.#volume.log.bytes
  }

  /** Of the log, as far as it is synced: what the vault has not acknowledged. */
  get unsentBytes(): number {
    const { unsent, history } = this.#volume
    return history.isReleased ? 0 : unsent.after(history.acknowledgedNumber)
  }

  get problems(): readonly Problem[] {
    const { problems, history } = this.#volume
    const zeroLoss = this.#gate.problem
    return [
      ...problems.values(),
      ...this.#underWay.problems(this.#volume.limits.slowMs),
      ...(zeroLoss ? [zeroLoss] : []),
      ...history.problems,
      ...(this.#failure ? [failureProblem(this.#failure.error)] : []),
    ]
  }

  /** How long the disks have owed an answer, for who ends a process that hangs on its disk. */
  get stalledMs(): { readonly log: number; readonly backing: number } {
    return { log: this.#underWay.stalledMs('log'), backing: this.#underWay.stalledMs('backing') }
  }

  take(requests: readonly ExportRequest[]): void {
    if (this.#failure) {
      for (const { answer } of requests) answer.failed('EIO')
      return
    }
    let hasChange = false
    for (const request of requests) {
      if (request.kind === 'read') continue
      this.#waiting.push(request)
      hasChange = true
    }
    if (hasChange) this.#admit()
    for (const request of requests) if (request.kind === 'read') this.#reads.read(request)
  }

  extents(at: number, bytes: number): Promise<readonly ExportExtent[]> {
    return this.#reads.extents(at, bytes)
  }

  /** Puts a mark behind all that is answered now, and ahead of all that is not in the log yet; resolves with its number. */
  mark(tag: number, label: string): Promise<RecordNumber> {
    if (Buffer.byteLength(label) > labelBytesMax) throw new RangeError(`a label has ${labelBytesMax} bytes at most`)
    return this.#own({ kind: 'mark', tag, label })
  }

  #own(draft: OwnDraft): Promise<RecordNumber> {
    return new Promise((taken, reject) => {
      this.#takeOwn({ ...draft, taken, failed: () => reject(new Error('the volume has failed')) })
    })
  }

  #takeOwn(own: Own): void {
    if (this.#failure) return own.failed()
    this.#waiting.push(own)
    this.#admit()
  }

  /**
   * The backing has grown: the volume is so large from the next record on, for whoever connects then. Resolves once that is durable;
   * `no-space` where there is no room for what is kept about it: then it is as it was.
   */
  async grow(bytes: number): Promise<void> {
    const { log, history } = this.#volume
    await history.makeRoom(bytes)
    const number = await this.#own({ kind: 'resize', bytes })
    await log.untilSynced(number)
    await history.save()
  }

  acknowledged(epoch: number, number: number): void {
    const { history } = this.#volume
    if (!history.acknowledge(epoch, number)) return
    const until = this.#gate.heard(history.acknowledgedNumber, history.durable, history.isTouched)
    if (until !== undefined) this.#unprotected.over(until)
    this.#unprotected.acknowledged()
    this.#release()
    this.#upkeep.acknowledged()
    this.#vaultSpoke.wake()
  }

  line(up: boolean): void {
    this.#gate.line(up)
  }

  askTouched(from: number): { readonly regions: readonly number[]; readonly next?: number } {
    return this.#volume.history.askTouched(from)
  }

  healed(regions: readonly number[], number: number): void {
    this.#volume.history.heal(regions, number).catch((error: unknown) => this.#fail(error))
  }

  settings({ logBytesMax, zeroLoss }: VolumeSettings): void {
    this.#upkeep.logBytesMax = logBytesMax
    this.#gate.set(zeroLoss)
    this.#release()
    this.#upkeep.acknowledged()
    this.#vaultSpoke.wake()
  }

  /** Who reads the log has found damage there: history goes on with a new epoch, and everything counts as touched. */
  lostHistory(why: string): void {
    if (this.#failure === undefined) this.#upkeep.lostHistory(why).catch((error: unknown) => this.#fail(error))
  }

  /** Nothing is kept for the vault any more; should it be asked for again, everything counts as touched. */
  release(): void {
    this.#gate.set(undefined)
    this.#volume.history.release()
    this.#release()
    this.#upkeep.acknowledged()
  }

  /** Ends with everything in the backing. What is not answered by then is not. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#failure === undefined) {
      try {
        await this.#upkeep.finish(this.#stop.signal)
      } catch (error) {
        this.#fail(error)
      }
    }
    this.#stop.abort()
    await this.#running
    await this.#volume.close()
  }

  /** Gives numbers to what waits, as far as there is room. */
  #admit(): void {
    const { log, pending, limits } = this.#volume
    try {
      while (this.#waiting.length > 0 && pending.weight < limits.pendingMax) {
        const changes = this.#waiting.slice(0, requestsAtOnce)
        const admitted = this.#append(changes)
        this.#waiting.splice(0, admitted)
        if (admitted < changes.length) break
      }
    } catch (error) {
      this.#fail(error)
      return
    }
    if (log.last > log.synced || this.#waiting.length > 0) this.#upkeep.written()
    this.#release()
  }

  /** How many of them are in the log. */
  #append(changes: readonly Change[]): number {
    const { log, history } = this.#volume
    const drafts: RecordDraft[] = []
    /** How many drafts it takes to have each of them in the log. A flush behind a flush takes none. */
    const taken: number[] = []
    let isFlushed = this.#isFlushed
    for (const change of changes) {
      if (change.kind !== 'flush' || !isFlushed) drafts.push(change)
      isFlushed = change.kind === 'flush'
      taken.push(drafts.length)
    }
    const before = log.last
    const place = { epoch: history.epoch, moment: moment(this.#parts.clock.now()) }
    const { count, addresses } = drafts.length === 0 ? { count: 0, addresses: [] } : log.append(drafts, place)
    let admitted = 0
    for (const [index, change] of changes.entries()) {
      const needs = taken[index] as number
      if (needs > count) break
      this.#settle(change, (before + needs) as RecordNumber, addresses[needs - 1] as LogAddress)
      admitted++
    }
    return admitted
  }

  #settle(change: Change, number: RecordNumber, address: LogAddress): void {
    const { pending } = this.#volume
    this.#isFlushed = change.kind === 'flush'
    switch (change.kind) {
      case 'write':
        pending.write(change.at, change.data.length, address)
        break
      case 'zero':
      case 'trim':
        pending.zero(change.at, change.bytes)
        break
      case 'mark':
        return change.taken(number)
      case 'resize':
        this.#bytes = change.bytes
        this.#volume.history.resized(change.bytes)
        return change.taken(number)
      case 'flush':
        return this.#answers.add(number, change.answer)
      default:
        return unreachable(change)
    }
    if (change.isForced) this.#answers.add(number, change.answer)
    else change.answer.done()
  }

  #synced(): void {
    this.#release()
    this.#parts.told.durable(this.durable)
    this.#vaultSpoke.wake()
  }

  #newEpoch(): void {
    this.#unprotected.epochBegan()
    this.#parts.told.epoch()
    this.#parts.told.durable(this.durable)
    this.#release()
  }

  #release(): void {
    const { log, history } = this.#volume
    this.#answers.release(this.#gate.isWaiting ? Math.min(log.synced, history.acknowledgedNumber) : log.synced)
  }

  /** Lets go what waits for the vault when it has been silent for too long. */
  async #degrade(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    const waitsMs = (): number | undefined =>
      this.#gate.waits(this.#upkeep.isVaultWanted || this.#answers.isAnyUpTo(this.#volume.log.synced))
    for (;;) {
      const ms = waitsMs()
      if (ms !== 0) {
        await wokenWithin(this.#vaultSpoke, clock, ms, signal)
        continue
      }
      const since = await this.#unprotected.begins(moment(clock.now()), () => waitsMs() === 0)
      if (since === undefined) continue
      this.#gate.degrade(since)
      this.#release()
      this.#upkeep.acknowledged()
    }
  }

  /** For good: what the system has dropped of what it was given cannot be given to it again. */
  #fail(error: unknown): void {
    // Also what is broken off because the server ends is none.
    if (this.#stop.signal.aborted) return
    this.#failure = { error }
    this.#stop.abort()
    for (const change of this.#waiting.splice(0)) {
      if ('answer' in change) change.answer.failed('EIO')
      else change.failed()
    }
    this.#answers.fail()
    this.#reads.fail()
    this.#parts.told.ended(error)
  }
}

const failureProblem = (error: unknown): Problem => ({
  code: 'volume-failed',
  message: `the volume answers nothing but errors: ${messageOf(error)}`,
  hint: 'see to the disks of the log and of the backing, then start the volume server again',
})
