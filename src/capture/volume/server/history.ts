import { isCode } from '../../../base/errors.ts'
import type { RecordNumber } from '../../../format/volume-log.ts'
import type { Moment } from '../../../model/moment.ts'
import type { Problem } from '../../../model/report.ts'
import type { Id } from '../../../model/source.ts'
import { regionsToldMax } from './limits.ts'
import type { Segment, VolumeLog } from './log.ts'
import { type PlaceFile, type VolumePlace, wantedFrom } from './place.ts'
import { regionBytes } from './regions.ts'
import type { TouchedRegions } from './touched.ts'

export interface HistoryParts {
  readonly log: VolumeLog
  readonly touched: TouchedRegions
  readonly file: PlaceFile
  readonly place: VolumePlace
}

/**
 * What of the log the vault may still want, and what it cannot have any more. The claim: a journal that holds everything up to
 * `acknowledged` is, with the records of the log from `first` on, right in all regions but those touched. So `touched` is durable
 * before a new epoch is, and a new epoch before any of its predecessor's segments goes.
 */
export class History {
  readonly #parts: HistoryParts
  /** How it is tried to note something: once, while the server starts. */
  #try: (work: () => Promise<void>) => Promise<void> = (work) => work()
  readonly #volume: Id
  #epoch: number
  #first: number
  #acknowledged: VolumePlace['acknowledged']
  #checkpoint: number
  #bytes: number
  #unprotectedSince: Moment
  /** As the place has it durably: the last record that the backing needs no more, and the last that nobody does; and how far the log was synced. */
  #saved = { checkpoint: 0, floor: 0, synced: 0 }
  /** While history is being given up: the last record of the epoch that ends. */
  #endsAt: number | undefined
  /** The epoch that is being noted: whatever else is noted meanwhile must not take it back. */
  #next: { readonly epoch: number; readonly first: number } | undefined
  #isReleased = false
  #givingUp: Promise<unknown> = Promise.resolve()

  constructor(parts: HistoryParts) {
    this.#parts = parts
    const { volume, epoch, first, acknowledged, checkpoint, bytes, unprotectedSince } = parts.place
    this.#volume = volume
    this.#epoch = epoch
    this.#first = first
    this.#acknowledged = acknowledged
    this.#checkpoint = checkpoint
    this.#bytes = bytes
    this.#unprotectedSince = unprotectedSince
  }

  /** From now on who notes something does it by this, which may try it until there is room. */
  noteBy(tries: (work: () => Promise<void>) => Promise<void>): void {
    this.#try = tries
  }

  get epoch(): number {
    return this.#epoch
  }

  get first(): number {
    return this.#first
  }

  get acknowledged(): VolumePlace['acknowledged'] {
    return this.#acknowledged
  }

  /** Of the present epoch. */
  get acknowledgedNumber(): number {
    return this.#wanted - 1
  }

  get #wanted(): number {
    return wantedFrom({ epoch: this.#epoch, first: this.#first, acknowledged: this.#acknowledged })
  }

  /** The log is durable up to here, as far as records of this epoch go. */
  get durable(): RecordNumber {
    return Math.min(this.#parts.log.synced, this.#endsAt ?? Number.MAX_SAFE_INTEGER) as RecordNumber
  }

  get isReleased(): boolean {
    return this.#isReleased
  }

  get isTouched(): boolean {
    return !this.#parts.touched.isEmpty
  }

  get problems(): readonly Problem[] {
    return this.isTouched ? [touchedProblem] : []
  }

  /** Whether the oldest segment stays because the vault has not acknowledged it. */
  get keepsOldest(): boolean {
    const oldest = this.#parts.log.segments[0]
    return !this.#isReleased && oldest !== undefined && this.#parts.log.lastOf(oldest) >= this.#wanted
  }

  get checkpoint(): number {
    return this.#checkpoint
  }

  /** As the place says durably, the log is synced up to here. */
  get notedSynced(): number {
    return this.#saved.synced
  }

  /** Durable once it resolves: the backing holds everything up to `number`. */
  async checkpointAt(number: number): Promise<void> {
    this.#checkpoint = number
    await this.save()
  }

  acknowledge(epoch: number, number: number): boolean {
    if (epoch !== this.#epoch || number <= this.acknowledgedNumber || number > this.#parts.log.synced) return false
    this.#acknowledged = { epoch, number }
    return true
  }

  askTouched(from: number): { readonly regions: readonly number[]; readonly next?: number } {
    return this.#parts.touched.list(from, regionsToldMax)
  }

  /** The journal holds their content as of `number`. Read before the present epoch began it says nothing about what was lost since. */
  heal(regions: readonly number[], number: number): Promise<void> {
    return this.#inTurn(async () => {
      if (number < this.#first - 1) return
      for (const region of regions) this.#parts.touched.remove(region)
      await this.#saveTouched()
    })
  }

  /** From now on nothing is kept for the vault. */
  release(): void {
    this.#isReleased = true
  }

  /** Segments of which it is not known what they changed, and may have to be. */
  unknownSegments(): Segment[] {
    const { log } = this.#parts
    return log.segments.filter((segment) => segment.regions === undefined && log.lastOf(segment) >= this.#wanted)
  }

  /** Ends the epoch: all that is not acknowledged is noted as touched, or everything where it cannot be known. */
  giveUp(): Promise<void> {
    return this.#inTurn(async () => {
      const { log, touched } = this.#parts
      try {
        for (const segment of this.unknownSegments()) await log.learnRegions(segment)
      } catch (error) {
        if (!isCode(error, 'damaged')) throw error
        touched.addAll()
      }
      const last = log.last
      for (const segment of log.segments) {
        if (log.lastOf(segment) >= this.#wanted) segment.regions?.each((from, to) => touched.add(from, to))
      }
      await this.#begin(last)
    })
  }

  /** As `giveUp`, where it is not known what has been lost. */
  giveUpAll(): Promise<void> {
    return this.#inTurn(async () => {
      this.#parts.touched.addAll()
      await this.#begin(this.#parts.log.last)
    })
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#givingUp.then(work)
    this.#givingUp = done.catch(() => undefined)
    return done
  }

  async #begin(last: number): Promise<void> {
    this.#endsAt = last
    await this.#saveTouched()
    // A power cut must not take back records before the epoch's first: their numbers would be given again, and pass for known.
    await this.#parts.log.untilSynced(last)
    const next = { epoch: this.#epoch + 1, first: last + 1 }
    this.#next = next
    await this.save()
    this.#epoch = next.epoch
    this.#first = next.first
    this.#next = undefined
    this.#endsAt = undefined
  }

  save(): Promise<void> {
    return this.#try(async () => {
      // What is tried again is what holds by then: later words have been noted meanwhile.
      const place = this.#place
      await this.#parts.file.write(place)
      const { checkpoint, synced } = place
      this.#saved = { checkpoint, floor: Math.min(checkpoint, wantedFrom(place) - 1), synced }
    })
  }

  get #place(): VolumePlace {
    return {
      volume: this.#volume,
      ...(this.#next ?? { epoch: this.#epoch, first: this.#first }),
      checkpoint: this.#checkpoint,
      acknowledged: this.#acknowledged,
      synced: this.#parts.log.synced,
      bytes: this.#bytes,
      unprotectedSince: this.#unprotectedSince,
    }
  }

  #saveTouched(): Promise<void> {
    return this.#try(() => this.#parts.touched.save())
  }

  /** Since when flushes have not waited for the vault; 0: the vault knows of all such times. */
  get unprotectedSince(): Moment {
    return this.#unprotectedSince
  }

  async noteUnprotected(since: Moment): Promise<void> {
    this.#unprotectedSince = since
    await this.save()
  }

  /** Sets room aside for what is noted of a volume of so many bytes. */
  makeRoom(bytes: number): Promise<void> {
    return this.#parts.touched.grow(Math.ceil(bytes / regionBytes))
  }

  /** The volume is so large; noted with whatever is noted next, and so before the record that tells it goes. */
  resized(bytes: number): void {
    this.#bytes = bytes
  }

  /** Lets segments go that neither the backing nor the vault wants. True where any has. */
  async recycle(): Promise<boolean> {
    const { log } = this.#parts
    const oldest = log.segments[0]
    if (oldest === undefined) return false
    const last = log.lastOf(oldest)
    if (last > this.#checkpoint || this.keepsOldest) return false
    if (last > this.#upTo) await this.save()
    let isAny = false
    while (await log.recycle(this.#upTo)) isAny = true
    return isAny
  }

  get #upTo(): number {
    return this.#isReleased ? this.#saved.checkpoint : this.#saved.floor
  }
}

const touchedProblem: Problem = {
  code: 'volume-history-lost',
  message: 'part of what was written was not kept for the vault; those parts of the volume are copied again',
  hint: 'nothing is to be done while the vault is reached',
}
