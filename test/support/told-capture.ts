import assert from 'node:assert/strict'
import type { Capture, CapturedBatch, CaptureOutput, CaptureRequest } from '../../src/capture/capture.ts'
import type { Clock } from '../../src/base/clock.ts'
import { decodeBatch, encodeBatch } from '../../src/format/batch.ts'
import type { Mark } from '../../src/model/change.ts'
import { type Moment, moment } from '../../src/model/moment.ts'
import { advance, type Sequence } from '../../src/model/sequence.ts'
import { batchForTest } from '../../src/wire/journal-in-memory.ts'
import type { ShippedBatch } from '../../src/wire/ship.ts'
import { Wake } from '../../src/base/wake.ts'

/** A capture whose batches name the run they are of; it says what it is told to say. */
export class ToldCapture implements Capture {
  readonly request: CaptureRequest
  readonly run: string
  readonly holes: { readonly since: Moment; readonly reason: string }[] = []
  readonly answers = new Map<number, readonly boolean[]>()
  readonly taken: CapturedBatch[] = []
  manifestAt: Sequence | undefined
  durableAt: Sequence
  isLineUp = false
  isDisposed = false
  reconciled = 0
  readonly said = new Wake()
  readonly #clock: Clock
  readonly #waiting: (
    | CaptureOutput
    | { readonly kind: 'write'; readonly bulk: boolean; readonly blocks: Uint8Array[] }
  )[] = []
  readonly #stop = new AbortController()
  #marks: { tag: number; label: string }[] = []
  #holes: Mark[] = []
  readonly resumedMoment: Moment | undefined
  #next: Sequence

  constructor(request: CaptureRequest, run: string, clock: Clock) {
    this.request = request
    this.run = run
    this.#clock = clock
    this.#next = advance(request.resumeAt, 1)
    this.durableAt = request.resumeAt
    const at = Number(Buffer.from(request.cursor).toString().split('@')[1] ?? Number.NaN)
    this.resumedMoment = Number.isNaN(at) ? undefined : moment(at)
  }

  write(bulk = false, blocks: Uint8Array[] = []): void {
    this.#waiting.push({ kind: 'write', bulk, blocks })
    this.said.wake()
  }

  say(output: CaptureOutput): void {
    this.#waiting.push(output)
    this.said.wake()
  }

  get unasked(): number {
    return this.#waiting.length
  }

  readonly outputs: AsyncIterable<CaptureOutput> = { [Symbol.asyncIterator]: () => this.#produce() }

  async *#produce(): AsyncGenerator<CaptureOutput> {
    for (;;) {
      const next = await this.said.until(() => this.#waiting.shift(), this.#stop.signal).catch(() => undefined)
      if (next === undefined) return
      if (next.kind !== 'write') {
        yield next
        continue
      }
      const shipped = this.#batch(next.bulk, next.blocks)
      const marks = this.#marks.map(({ tag }) => ({ tag, sequence: shipped.last }))
      this.#marks = []
      this.#next = advance(shipped.last, 1)
      const batch: CapturedBatch = { kind: 'batch', ...shipped, moment: moment(this.#clock.now()), marks }
      this.taken.push(batch)
      yield batch
    }
  }

  /** As the batches of other tests, with the holes at its end and the moment in its cursor. */
  #batch(bulk: boolean, blocks: readonly Uint8Array[]): ShippedBatch {
    const plain = batchForTest(this.#next, 1, blocks, bulk, this.run)
    const at = moment(this.#clock.now())
    const batch = decodeBatch(plain.bytes)
    const holes = this.#holes.splice(0).map((mark) => ({ moment: at, change: { kind: 'mark', mark } as const }))
    const cursor = Buffer.from(`${Buffer.from(batch.cursor).toString()}@${at}`)
    const bytes = encodeBatch({ ...batch, cursor, changes: [...batch.changes, ...holes] })
    return { ...plain, last: advance(plain.last, holes.length), bytes }
  }

  durable(at: Sequence): void {
    assert.ok(at >= this.durableAt)
    this.durableAt = at
    this.said.wake()
  }

  answer(tag: number, missing: readonly boolean[]): void {
    this.answers.set(tag, missing)
  }

  manifest(_path: string, at: Sequence): void {
    this.manifestAt = at
  }

  line(up: boolean): void {
    this.isLineUp = up
  }

  mark(tag: number, label: string): void {
    this.#marks.push({ tag, label })
    this.write()
  }

  reconcile(): void {
    this.reconciled++
  }

  hole(since: Moment, reason: string): void {
    this.holes.push({ since, reason })
    this.#holes.push({ type: 'hole', since, reason })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isDisposed = true
    this.#stop.abort()
  }
}
