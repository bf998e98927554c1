import type { Moment } from '../model/moment.ts'
import type { CaptureReport } from '../model/report.ts'
import type { Sequence } from '../model/sequence.ts'

/** Claims of coverage that wait for durability; newer ones replace the newest when there are more. */
const claimsMax = 64
/** The quickest report is taken from those of so many steps, however many come in one: an active source reports more often. */
const offsetsMax = 16
const offsetStepUs = 1_000_000
const rateWindowMs = 10_000
/** Arrivals closer together than this are one. */
const rateStepMs = 100

interface Claim {
  readonly upTo: Sequence
  /** By the agent's clock. */
  readonly covered: Moment
  /** By the vault's monotonic one. */
  readonly coveredHereUs: number
}

/**
 * Measures one source at the vault: how far what is durable here is behind the source. The agent only claims
 * ("every change before M is in the journal up to N"); a claim counts once N is durable here, and ages by the
 * vault's monotonic clock, which nobody sets. What crosses is how long ago M was when the report left; to that comes how much
 * later than the quickest of the last reports it arrived. So neither the difference of the clocks, nor a step of one of them,
 * nor a slow line makes the lag look smaller.
 */
export class SourceMeter {
  #claims: Claim[] = []
  /** Of each step, by our clock, the quickest report. */
  #offsets: { readonly sinceUs: number; quickest: number }[] = []
  #settled: Claim | undefined
  #durable: Sequence
  readonly #totals = { changes: 0, bytes: 0, batches: 0 }
  #rates: { atMs: number; changes: number; bytes: number }[] = []
  report: CaptureReport | undefined

  constructor(durable: Sequence) {
    this.#durable = durable
  }

  /** A session begins: what was claimed in the one before may never be sent. */
  began(durable: Sequence): void {
    this.#claims = []
    this.#durable = durable
  }

  /** The agent's report has arrived; `agentNow` is its clock's reading when it left, `nowUs` that of our monotonic one. */
  reported(report: CaptureReport, agentNow: Moment, nowUs: number): void {
    this.report = report
    const { covered, upTo } = report
    // Nothing was ever covered.
    if (covered === 0) return
    if (this.#claims.length === claimsMax) this.#claims.pop()
    const underWayUs = this.#delayUs(nowUs - agentNow, nowUs)
    this.#claims.push({ covered, upTo, coveredHereUs: nowUs - underWayUs - Math.max(0, agentNow - covered) })
    this.#settle()
  }

  durable(sequence: Sequence, changes: number, bytes: number, nowMs: number): void {
    this.#durable = sequence
    this.#totals.batches++
    this.#count(changes, bytes, nowMs)
    this.#settle()
  }

  /** Content that came before the batch that refers to it. */
  received(bytes: number, nowMs: number): void {
    this.#count(0, bytes, nowMs)
  }

  /** `offset`: our clock's reading at arrival less the agent's when the report left. */
  #delayUs(offset: number, nowUs: number): number {
    const newest = this.#offsets.at(-1)
    if (newest && nowUs - newest.sinceUs < offsetStepUs) newest.quickest = Math.min(newest.quickest, offset)
    else this.#offsets.push({ sinceUs: nowUs, quickest: offset })
    if (this.#offsets.length > offsetsMax) this.#offsets.shift()
    return offset - Math.min(...this.#offsets.map(({ quickest }) => quickest))
  }

  #count(changes: number, bytes: number, nowMs: number): void {
    this.#totals.changes += changes
    this.#totals.bytes += bytes
    const newest = this.#rates.at(-1)
    if (newest && nowMs - newest.atMs < rateStepMs) {
      newest.changes += changes
      newest.bytes += bytes
      return
    }
    this.#rates.push({ atMs: nowMs, changes, bytes })
    this.#dropOldRates(nowMs)
  }

  #settle(): void {
    for (let claim = this.#claims[0]; claim && claim.upTo <= this.#durable; claim = this.#claims[0]) {
      this.#claims.shift()
      if (this.#settled === undefined || claim.coveredHereUs > this.#settled.coveredHereUs) this.#settled = claim
    }
  }

  /** Since this process began. */
  get totals(): { readonly changes: number; readonly bytes: number; readonly batches: number } {
    return this.#totals
  }

  /** By the agent's clock. */
  get covered(): Moment | undefined {
    return this.#settled?.covered
  }

  lagMs(nowUs: number): number | undefined {
    return this.#settled && Math.max(0, (nowUs - this.#settled.coveredHereUs) / 1000)
  }

  rates(nowMs: number): { changesPerSecond: number; bytesPerSecond: number } {
    this.#dropOldRates(nowMs)
    let changes = 0
    let bytes = 0
    for (const one of this.#rates) {
      changes += one.changes
      bytes += one.bytes
    }
    return { changesPerSecond: (changes * 1000) / rateWindowMs, bytesPerSecond: (bytes * 1000) / rateWindowMs }
  }

  #dropOldRates(nowMs: number): void {
    while (this.#rates[0] && nowMs - this.#rates[0].atMs > rateWindowMs) this.#rates.shift()
  }
}
