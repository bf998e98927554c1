import * as z from 'zod'
import type { Clock } from '../base/clock.ts'
import { isCode } from '../base/errors.ts'
import { Wake } from '../base/wake.ts'
import type { Capture, CapturedBatch } from '../capture/capture.ts'
import { decodeBatch } from '../format/batch.ts'
import { type Moment, moment } from '../model/moment.ts'
import { type Sequence, sequence } from '../model/sequence.ts'
import type { Store } from '../store/store.ts'

/** Changes made from `since` on were not kept one by one. */
export interface Hole {
  readonly since: Moment
  readonly reason: string
}

interface NotedHole extends Hole {
  /** Of the batch with its mark, once the backlog has that. */
  readonly markedAt?: Sequence | undefined
}

/** More become one. */
const holesMax = 16
const reasonLengthMax = 500

/**
 * The holes of one source that the vault's journal does not tell of yet. Each is on disk before anything is dropped and
 * until the batch with its mark is durable at the vault, so that no kill forgets one; it may be marked twice.
 */
export class Holes {
  readonly #store: Store
  #holes: readonly NotedHole[]
  #saved: readonly NotedHole[]
  /** Since when, as the capture that is open now has been told: its mark says the same. */
  readonly #told = new Map<NotedHole, Moment>()
  readonly #forgotten = new Wake()
  #saving: Promise<unknown> = Promise.resolve()

  private constructor(store: Store, holes: readonly NotedHole[]) {
    this.#store = store
    this.#holes = holes
    this.#saved = holes
  }

  static async open(store: Store, clock: Clock): Promise<Holes> {
    return new Holes(store, await readHoles(store, clock))
  }

  /** Resolves once it is on disk, where there is room for so little. */
  async add({ since, reason }: Hole): Promise<void> {
    const hole = { since, reason: reason.slice(0, reasonLengthMax) }
    const last = this.#holes.length < holesMax ? undefined : this.#holes.at(-1)
    const before = last ? this.#holes.slice(0, -1) : this.#holes
    this.#holes = [...before, last && last.since < since ? { ...hole, since: last.since } : hole]
    await this.save()
  }

  /** The vault's journal is another than the one that the marks are in. */
  async rewound(): Promise<void> {
    this.#unmark(() => true)
    await this.save()
  }

  /** The capture was opened after `resumeAt`: marks beyond that are lost. */
  async opened(capture: Capture, resumeAt: Sequence): Promise<void> {
    const { resumedMoment } = capture
    this.#told.clear()
    this.#unmark((markedAt) => markedAt > resumeAt)
    await this.save()
    for (const hole of this.#holes) {
      if (hole.markedAt !== undefined) continue
      // Of what came after the place where it goes on, nothing is kept one by one.
      const isEarlier = resumedMoment !== undefined && resumedMoment < hole.since
      this.#tell(capture, hole, isEarlier ? resumedMoment : hole.since)
    }
  }

  /** Adds one, and tells the capture that is open. */
  async happened(capture: Capture, hole: Hole): Promise<void> {
    await this.add(hole)
    const noted = this.#holes.at(-1)
    if (noted) this.#tell(capture, noted, noted.since)
  }

  #tell(capture: Capture, hole: NotedHole, since: Moment): void {
    this.#told.set(hole, since)
    capture.hole(since, hole.reason)
  }

  /** The backlog has this batch. */
  taken(batch: CapturedBatch): void {
    if (this.#told.size === 0) return
    for (const { change } of decodeBatch(batch.bytes).changes) {
      if (change.kind !== 'mark' || change.mark.type !== 'hole') continue
      for (const [hole, since] of this.#told) {
        if (change.mark.since !== since || change.mark.reason !== hole.reason) continue
        this.#told.delete(hole)
        this.#holes = this.#holes.map((one) => (one === hole ? { ...one, markedAt: batch.last } : one))
      }
    }
  }

  /** Everything up to `durable` is at the vault. */
  acknowledged(durable: Sequence): void {
    if (this.#holes.some(({ markedAt }) => markedAt !== undefined && markedAt <= durable)) {
      this.#holes = this.#holes.filter(({ markedAt }) => markedAt === undefined || markedAt > durable)
      this.#forgotten.wake()
    }
  }

  /** Writes down what was acknowledged as soon as it is: who did not know would mark the hole again. Ends by `signal`, or by failing. */
  async forgetting(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#forgotten.wait(signal)
      await this.save()
    }
  }

  /** What was marked is written down now and then: forgetting that marks a hole twice. */
  save(): Promise<void> {
    const saved = this.#saving.then(() => this.#save())
    this.#saving = saved.catch(() => undefined)
    return saved
  }

  async #save(): Promise<void> {
    const holes = this.#holes
    if (holes === this.#saved) return
    try {
      if (holes.length === 0) await this.#store.remove(holesName)
      else await this.#store.replace(holesName, Buffer.from(JSON.stringify(holes)))
    } catch (error) {
      // It is tried again when there may be room.
      if (!isCode(error, 'vault-full')) throw error
      return
    }
    this.#saved = holes
  }

  #unmark(isLost: (markedAt: Sequence) => boolean): void {
    if (!this.#holes.some(({ markedAt }) => markedAt !== undefined && isLost(markedAt))) return
    this.#holes = this.#holes.map((hole) => {
      if (hole.markedAt === undefined || !isLost(hole.markedAt)) return hole
      return { since: hole.since, reason: hole.reason }
    })
  }
}

const holesName = 'holes.json'
const holesSchema = z.array(
  z.object({
    since: z.int().nonnegative().transform(moment),
    reason: z.string(),
    markedAt: z.int().nonnegative().transform(sequence).optional(),
  }),
)

async function readHoles(store: Store, clock: Clock): Promise<NotedHole[]> {
  try {
    const text = (await store.read(holesName, 0, 64 * 1024)).toString('utf8')
    return holesSchema.parse(JSON.parse(text))
  } catch (error) {
    if (isCode(error, 'not-found')) return []
    if (!(error instanceof SyntaxError) && !(error instanceof z.ZodError)) throw error
    return [{ since: moment(clock.now()), reason: 'the note of a hole could not be read' }]
  }
}
