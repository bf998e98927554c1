import type { Clock } from '../../base/clock.ts'
import { isCode, TidemarkError } from '../../base/errors.ts'
import type { Range } from '../../model/change.ts'
import { formatMoment, isoMoment } from '../../model/moment.ts'
import { preflightFact } from '../../model/preflight.ts'
import { beforeFirst, type Sequence } from '../../model/sequence.ts'
import { InFlight } from '../in-flight.ts'
import { resumable } from '../resumable.ts'
import { checkImage, Image, isImage, type LaidOver } from './image.ts'
import { dropImageState, imageRegionBytes, type ImageState, keepImageState, unfinishedImage } from './image-state.ts'
import type { Stretch, VolumeOrigin } from './origin.ts'
import { failuresKeptMax, VolumeIncomplete, type VolumeReceipt } from './receipt.ts'
import { type VolumeProgress, VolumeProgressMeter } from './progress.ts'

export interface VolumeRestoreRequest {
  /** What the source is called, for the receipt and for knowing the restore again. */
  readonly source: string
  /** A file, or a block device. */
  readonly target: string
  /** Go on with an unfinished restore of the same point. */
  readonly resume: boolean
  /** Read what the target holds, and write only what differs. */
  readonly delta: boolean
  /** Replace what the target holds. */
  readonly force: boolean
}

export interface VolumeRestoreParts {
  readonly origin: VolumeOrigin
  readonly clock: Clock
  readonly tell: (progress: VolumeProgress) => void
}

/** Regions being fetched and written at once. */
const regionsInFlightMax = 3
/** What was written is made durable, and noted as done, at the latest after so many bytes of the volume. */
const durableEveryBytes = 128 * 1024 * 1024
/** Where the vault finds damage, less is asked for at a time, down to this much. */
const damagedBytesMin = 64 * 1024

/**
 * Restores a volume at a point to a file or device, and returns once it is durable there. Every byte was checked against its
 * name on arrival. Throws `VolumeIncomplete` when some of it could not be had, with the rest in its place; `interrupted`,
 * `no-space` and `unreachable` leave a target that `resume` goes on with.
 */
export async function restoreVolume(
  request: VolumeRestoreRequest,
  parts: VolumeRestoreParts,
  signal: AbortSignal,
): Promise<VolumeReceipt> {
  const { origin, clock } = parts
  const state = chosenState(request, origin)
  using image = Image.open(request.target)
  // What it says would not be true of a target that is begun anew; another restore's stays where that works on the target.
  if (state.done === undefined) dropImageState(request.target)
  image.layOver(state.over, origin.bytes, state.done !== undefined)
  const startedMs = clock.monotonicMs()
  const run = new VolumeRestore(request, parts, image, state)
  try {
    await run.write(signal)
    await run.keep()
  } catch (error) {
    throw resumable(error, request.target, signal)
  }
  const receipt = run.receipt(clock.monotonicMs() - startedMs)
  if (receipt.failureCount > 0) throw new VolumeIncomplete(receipt)
  dropImageState(request.target)
  return receipt
}

/** `done` is undefined of a restore that begins. Which image it is shows when that is open. */
type Chosen = Omit<ImageState, 'done' | 'image'> & { readonly done: ImageState['done'] | undefined }

/** What would be done to the target; refuses what must not be. */
export function chosenState(request: VolumeRestoreRequest, { point, bytes }: VolumeOrigin): Chosen {
  const { source, target, resume, delta, force } = request
  const before = unfinishedImage(target)
  const journalBytes = Array.from({ length: Math.ceil(bytes / imageRegionBytes) }, () => 0)
  const begun = { journal: beforeFirst, journalBytes, done: undefined }
  const fresh = (over: LaidOver): Chosen => ({ source, ...point, bytes, over, ...begun })
  if (before === undefined || delta || force) return fresh(checkImage(target, bytes, { delta, force }))
  const isSame = before.source === source && before.at === point.at && before.bytes === bytes
  if (isSame && resume) {
    // An image that was taken away begins again; what was put in its place is not given up for it.
    const over = checkImage(target, bytes, { delta: isImage(target, before), force: false })
    return isImage(target, before) ? before : fresh(over)
  }
  throw new TidemarkError('target-not-empty', {
    message: `${target} holds an unfinished restore of ${before.source} at ${formatMoment(before.moment)}`,
    hint: 'go on with it with --resume, or begin anew with --force or --delta',
    fact: preflightFact('target-begun-other', {
      path: target,
      source: before.source,
      moment: isoMoment(before.moment),
    }),
  })
}

class VolumeRestore {
  readonly #request: VolumeRestoreRequest
  readonly #parts: VolumeRestoreParts
  readonly #image: Image
  readonly #state: Chosen
  readonly #progress: VolumeProgressMeter
  /** Durable, and as kept in the state file. */
  readonly #done: Set<number>
  /** Written from the journal: up to which change, and how much by region. */
  #journal: Sequence | undefined
  #journalBytes: readonly number[]
  /** The same as it is told, what was lost included. */
  readonly #journalTold: number[]
  /** Regions of which the journal has lost some: by the next run retention may have moved it to where only they tell of it. */
  readonly #lostIn = new Set<number>()
  /** Written since, not durable yet. */
  #written: number[] = []
  #dataBytes = 0
  #stretches = 0
  #failures: { at: number; bytes: number; reason: string }[] = []
  #failureCount = 0

  constructor(request: VolumeRestoreRequest, parts: VolumeRestoreParts, image: Image, state: Chosen) {
    this.#request = request
    this.#parts = parts
    this.#image = image
    this.#state = state
    this.#done = new Set(state.done)
    this.#journal = state.journal
    this.#journalBytes = state.journalBytes
    this.#journalTold = [...state.journalBytes]
    this.#progress = new VolumeProgressMeter(state.bytes, parts.clock, parts.tell)
  }

  async write(signal: AbortSignal): Promise<void> {
    this.#keepState()
    this.#progress.skip(this.#journalBytes.reduce((sum, bytes) => sum + bytes, 0))
    if (this.#journal !== undefined) await this.#fromJournal(this.#journal, signal)
    const stop = new AbortController()
    const inFlight = new InFlight(regionsInFlightMax, signal)
    try {
      await this.#regions(inFlight, AbortSignal.any([signal, stop.signal]))
    } finally {
      // Nobody writes to an image that is closed.
      stop.abort(new Error('the restore is over'))
      await inFlight.noneLeft()
    }
    this.#progress.stage('finishing')
  }

  async #regions(inFlight: InFlight, signal: AbortSignal): Promise<void> {
    let unkept = 0
    for (const [number, region] of regionsOf(this.#state.bytes)) {
      if (this.#done.has(number)) {
        this.#progress.skip(region.bytes - (this.#journalBytes[number] ?? 0))
        continue
      }
      await inFlight.start(() => this.#region(number, region, signal))
      unkept += region.bytes
      if (unkept < durableEveryBytes) continue
      await this.keep()
      unkept = 0
    }
    await inFlight.allEnded()
  }

  /** What was written so far need not be fetched again. */
  async keep(): Promise<void> {
    const written = this.#written.splice(0)
    await this.#image.sync()
    for (const region of written) this.#done.add(region)
    this.#keepState()
  }

  #keepState(): void {
    const journal = { journal: this.#journal, journalBytes: this.#journalBytes }
    keepImageState(this.#request.target, { ...this.#state, ...journal, image: this.#image.identity, done: this.#done })
  }

  /** All that stands in the journal, each batch read once, wherever it belongs. */
  async #fromJournal(after: Sequence, signal: AbortSignal): Promise<void> {
    let unkept = 0
    const failed = this.#failureCount
    for await (const told of this.#parts.origin.readJournal(after, signal)) {
      if (told.kind !== 'reached') {
        if (told.kind === 'lost') this.#lost(told)
        else this.#put(told)
        this.#count(told)
        unkept += told.bytes
        continue
      }
      // What was lost is asked for again by the next run.
      if (this.#failureCount > failed) continue
      this.#journal = told.sequence
      this.#journalBytes = [...this.#journalTold]
      if (unkept < durableEveryBytes) continue
      await this.keep()
      unkept = 0
    }
    if (this.#failureCount > failed) return
    this.#journal = undefined
    this.#journalBytes = [...this.#journalTold]
    await this.keep()
  }

  #count(range: Range): void {
    this.#progress.add(range.bytes)
    for (const { region, bytes } of perRegion(range))
      this.#journalTold[region] = (this.#journalTold[region] ?? 0) + bytes
  }

  #lost(range: Range & { readonly message: string }): void {
    this.#fail(range, range.message)
    for (const { region } of perRegion(range)) this.#lostIn.add(region)
  }

  receipt(elapsedMs: number): VolumeReceipt {
    return {
      source: this.#request.source,
      at: this.#state.at,
      moment: this.#state.moment,
      ...(this.#parts.origin.suspect === undefined ? {} : { suspect: this.#parts.origin.suspect }),
      target: this.#request.target,
      bytes: this.#state.bytes,
      dataBytes: this.#dataBytes,
      writtenBytes: this.#image.writtenBytes,
      seconds: Math.round(elapsedMs) / 1000,
      verifiedStretches: this.#stretches,
      failures: this.#failures,
      failureCount: this.#failureCount,
    }
  }

  async #region(number: number, region: Range, signal: AbortSignal): Promise<void> {
    const failed = this.#failureCount
    const journalBytes = await this.#range(region, signal)
    const told = this.#journalTold[number] ?? 0
    if (journalBytes > told) {
      throw new TidemarkError('protocol-violation', {
        message: `the vault left out ${journalBytes - told} bytes that stand in the journal`,
        hint: 'begin again with --force; if this happens again, the versions of the program and of the vault do not fit',
      })
    }
    if (this.#failureCount === failed && !this.#lostIn.has(number)) this.#written.push(number)
  }

  /** Where the vault finds damage, asks for halves, until what is damaged stands alone. How many bytes the journal has. */
  async #range(range: Range, signal: AbortSignal): Promise<number> {
    try {
      return await this.#fetch(range, signal)
    } catch (error) {
      if (!isCode(error, 'damaged')) throw error
      if (range.bytes <= damagedBytesMin) {
        this.#fail(range, error.message)
        return 0
      }
    }
    const half = Math.ceil(range.bytes / 2 / damagedBytesMin) * damagedBytesMin
    const first = await this.#range({ at: range.at, bytes: half }, signal)
    return first + (await this.#range({ at: range.at + half, bytes: range.bytes - half }, signal))
  }

  /** What a part brings before another part turns out damaged is written a second time: it is the same. */
  async #fetch(range: Range, signal: AbortSignal): Promise<number> {
    let journalBytes = 0
    for await (const stretch of this.#parts.origin.readRest([range], signal)) {
      if (stretch.isInJournal) {
        journalBytes += stretch.bytes
        continue
      }
      this.#put(stretch)
      this.#progress.add(stretch.bytes)
    }
    return journalBytes
  }

  #put({ at, bytes, data }: Stretch): void {
    const isDelta = this.#state.over === 'compared'
    if (data === undefined) {
      if (isDelta) this.#image.zeroDifferent(at, bytes)
      else this.#image.zero(at, bytes)
      return
    }
    if (isDelta) this.#image.writeDifferent(at, data)
    else this.#image.write(at, data)
    this.#dataBytes += bytes
    this.#stretches++
  }

  #fail({ at, bytes }: Range, reason: string): void {
    this.#failureCount++
    if (this.#failures.length < failuresKeptMax) this.#failures.push({ at, bytes, reason })
  }
}

function* perRegion({ at, bytes }: Range): Generator<{ readonly region: number; readonly bytes: number }> {
  for (let reached = at; reached < at + bytes;) {
    const region = Math.floor(reached / imageRegionBytes)
    const end = Math.min((region + 1) * imageRegionBytes, at + bytes)
    yield { region, bytes: end - reached }
    reached = end
  }
}

function* regionsOf(bytes: number): Generator<[number, Range]> {
  for (let at = 0, number = 0; at < bytes; at += imageRegionBytes, number++) {
    yield [number, { at, bytes: Math.min(imageRegionBytes, bytes - at) }]
  }
}
