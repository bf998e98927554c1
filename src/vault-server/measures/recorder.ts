import type { MeasureStep } from '../../api/measures.ts'
import type { Clock } from '../../base/clock.ts'
import type { Id } from '../../model/source.ts'
import { addLook, type Look, type Measured, nothingMeasured } from './measured.ts'
import type { Measures } from './measures.ts'
import { hourOfMinute, stepUs } from './spans.ts'

/** Each source is looked at so often. */
export const lookMs = 1_000
/** How long what was measured is kept, as minutes, as hours and as days. */
export const measuresKeptMs: Readonly<Record<MeasureStep, number>> = {
  minute: 35 * 86_400_000,
  hour: 400 * 86_400_000,
  day: 5 * 365 * 86_400_000,
}
/** Sources whose hour is put together, or whose old measures are removed, at one look: a few milliseconds of work. */
const sourcesAtOnceMax = 10
/** The wall clock and the monotonic one may differ by so much in an hour; else it was set, and nothing is taken as old by it. */
const driftMsMax = 60_000

/** A source as it is now. */
export interface LookedAt extends Look {
  readonly id: Id
  /** What came in since the process began. */
  readonly changes: number
  readonly bytes: number
}

export interface RecorderParts {
  readonly clock: Clock
  readonly measures: Measures
  readonly look: () => Iterable<LookedAt>
  /** Sources that are not to be forgotten. */
  readonly known: () => ReadonlySet<string>
}

/**
 * Looks at each source once a second, gathers a minute in memory and writes it when it is over: a crash loses that minute at most.
 * Seconds that were not looked at, because the vault did not run, count nowhere. The minute is the wall clock's; how often is
 * looked the monotonic clock says, so that setting the clock loses and invents no second.
 */
export class Recorder {
  readonly #parts: RecorderParts
  #minute: number | undefined
  #gathered = new Map<Id, Measured>()
  readonly #totals = new Map<Id, { changes: number; bytes: number }>()
  #toPrune: Id[] = []
  #hour: { readonly number: number; readonly wallMs: number; readonly monotonicMs: number } | undefined

  constructor(parts: RecorderParts) {
    this.#parts = parts
  }

  /** Until `signal` aborts; then what was gathered is written. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    let dueMs = clock.monotonicMs()
    while (!signal.aborted) {
      this.look()
      const nowMs = clock.monotonicMs()
      // Seconds in which the process was held up are not made up for: nothing was seen in them.
      dueMs = Math.max(dueMs + lookMs, nowMs)
      await clock.sleep(dueMs - nowMs, signal).catch(() => undefined)
    }
    this.#write()
  }

  look(): void {
    const { clock, look } = this.#parts
    const minute = Math.floor(clock.now() / stepUs.minute)
    if (this.#minute !== minute) this.#write()
    this.#minute = minute
    for (const one of look()) {
      const measured = this.#gathered.get(one.id) ?? nothingMeasured()
      this.#gathered.set(one.id, measured)
      addLook(measured, one)
      this.#count(measured, one)
    }
    this.#tidy(hourOfMinute(minute))
  }

  /** What came in since the last look. Totals that are smaller than before began anew. */
  #count(measured: Measured, { id, changes, bytes }: LookedAt): void {
    const before = this.#totals.get(id)
    const isAnew = before === undefined || changes < before.changes || bytes < before.bytes
    measured.changes += isAnew ? changes : changes - before.changes
    measured.bytes += isAnew ? bytes : bytes - before.bytes
    this.#totals.set(id, { changes, bytes })
  }

  #write(): void {
    const minute = this.#minute
    const gathered = this.#gathered
    this.#gathered = new Map()
    if (minute !== undefined && gathered.size > 0) {
      this.#parts.measures.record('write a minute', (file) => file.writeMinute(minute, gathered))
    }
  }

  /** After an hour its minutes are put together, and what is old is removed: some at each look. */
  #tidy(hour: number): void {
    const { clock, measures, known } = this.#parts
    let isFolding = false
    measures.record('put an hour together', (file) => (isFolding = file.fold(hour, sourcesAtOnceMax)))
    if (isFolding) return
    if (this.#hour?.number !== hour) {
      const before = this.#hour
      this.#hour = { number: hour, wallMs: clock.now() / 1000, monotonicMs: clock.monotonicMs() }
      const drift = before && this.#hour.wallMs - before.wallMs - (this.#hour.monotonicMs - before.monotonicMs)
      if (drift !== undefined && Math.abs(drift) <= driftMsMax) {
        measures.record('list sources', (file) => (this.#toPrune = file.sources))
        for (const id of this.#totals.keys()) if (!known().has(id)) this.#totals.delete(id)
      }
    }
    const some = this.#toPrune.splice(0, sourcesAtOnceMax)
    if (some.length === 0) return
    const kept = known()
    const wallUs = clock.now()
    const before = (step: MeasureStep): number => Math.floor((wallUs - measuresKeptMs[step] * 1000) / stepUs[step])
    const old = { minute: before('minute'), hour: before('hour'), day: before('day') }
    const all = { minute: Infinity, hour: Infinity, day: Infinity }
    measures.record('remove what is old', (file) => {
      for (const id of some) file.prune(id, kept.has(id) ? old : all)
    })
  }
}
