import type { Moment } from '../model/moment.ts'
import type { CaptureReport } from '../model/report.ts'
import type { Sequence } from '../model/sequence.ts'

/** Claims of coverage that wait for durability; newer ones replace the newest when there are more. */
const claimsMax = 64
/** Clock readings that the difference of the clocks is taken from. */
const readingsMax = 16
const rateWindowMs = 10_000
/** Arrivals closer together than this are one. */
const rateStepMs = 100

/**
 * Measures one source at the vault: how far what is durable here is behind the source. The agent only claims
 * ("every change before M is in the journal up to N"); a claim counts once N is durable here, and ages by the
 * vault's clock. The least difference seen between both clocks stands for their offset, so the time a report was
 * under way counts as lag and never against it.
 */
export class SourceMeter {
  #claims: { covered: Moment; upTo: Sequence }[] = []
  #covered: Moment | undefined
  #offsets: number[] = []
  #durable: Sequence
  #rates: { atMs: number; changes: number; bytes: number }[] = []
  report: CaptureReport | undefined

  constructor(durable: Sequence) {
    this.#durable = durable
  }

  /** The agent's report has arrived; `agentNow` is its clock's reading when it left, `now` ours. */
  reported(report: CaptureReport, agentNow: Moment, now: Moment): void {
    this.report = report
    this.#offsets.push(now - agentNow)
    if (this.#offsets.length > readingsMax) this.#offsets.shift()
    if (this.#claims.length === claimsMax) this.#claims.pop()
    this.#claims.push({ covered: report.covered, upTo: report.upTo })
    this.#settle()
  }

  durable(sequence: Sequence, changes: number, bytes: number, nowMs: number): void {
    this.#durable = sequence
    this.#count(changes, bytes, nowMs)
    this.#settle()
  }

  /** Content that came before the batch that refers to it. */
  received(bytes: number, nowMs: number): void {
    this.#count(0, bytes, nowMs)
  }

  #count(changes: number, bytes: number, nowMs: number): void {
    const newest = this.#rates.at(-1)
    if (newest && nowMs - newest.atMs < rateStepMs) {
      newest.changes += changes
      newest.bytes += bytes
      return
    }
    this.#rates.push({ atMs: nowMs, changes, bytes })
    while (this.#rates[0] && nowMs - this.#rates[0].atMs > rateWindowMs) this.#rates.shift()
  }

  #settle(): void {
    while (this.#claims[0] && this.#claims[0].upTo <= this.#durable) {
      const { covered } = this.#claims.shift() as { covered: Moment }
      if (this.#covered === undefined || covered > this.#covered) this.#covered = covered
    }
  }

  /** By the agent's clock. */
  get covered(): Moment | undefined {
    return this.#covered
  }

  lagMs(now: Moment): number | undefined {
    if (this.#covered === undefined) return undefined
    const offset = this.#offsets.length > 0 ? Math.min(...this.#offsets) : 0
    return Math.max(0, (now - (this.#covered + offset)) / 1000)
  }

  rates(nowMs: number): { changesPerSecond: number; bytesPerSecond: number } {
    while (this.#rates[0] && nowMs - this.#rates[0].atMs > rateWindowMs) this.#rates.shift()
    const sum = this.#rates.reduce(
      (all, one) => ({ changes: all.changes + one.changes, bytes: all.bytes + one.bytes }),
      {
        changes: 0,
        bytes: 0,
      },
    )
    return { changesPerSecond: (sum.changes * 1000) / rateWindowMs, bytesPerSecond: (sum.bytes * 1000) / rateWindowMs }
  }
}
