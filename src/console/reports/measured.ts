import type { Report } from '../../api/console.ts'
import { lagClassesMs, lagPercentileMs, type Measure } from '../../api/measures.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import type { Span } from './month.ts'

type Measured = Pick<
  Report['sources'][number],
  | 'secondsExpected'
  | 'secondsMeasured'
  | 'unknownSeconds'
  | 'lateSeconds'
  | 'lagMs'
  | 'lagClasses'
  | 'days'
  | 'changes'
  | 'bytes'
>

/** What a month of hours comes to. `begun`: when the source was first measured at all; undefined where never. */
export function summarise(hours: readonly Measure[], begun: Moment | undefined, span: Span): Measured {
  const all = added(hours)
  const days = Map.groupBy(hours, ({ at }) => at.slice(0, 10))
  const expectedFrom = begun === undefined ? span.until : Math.max(begun, span.from)
  return {
    secondsExpected: Math.max(0, Math.floor((span.until - expectedFrom) / 1_000_000)),
    secondsMeasured: all.seconds,
    unknownSeconds: all.unknownSeconds,
    lateSeconds: all.lateSeconds,
    lagMs: percentiles(all),
    lagClasses: all.lagClasses,
    days: [...days].map(([day, measures]) => {
      const one = added(measures)
      const { p50, p99, max } = percentiles(one)
      const at = isoMoment((Date.parse(`${day}T00:00:00Z`) * 1000) as Moment)
      return { at, seconds: one.seconds, lateSeconds: one.lateSeconds, p50, p99, max }
    }),
    changes: all.changes,
    bytes: all.bytes,
  }
}

type Sum = Omit<Measure, 'at' | 'worst'>

function added(measures: readonly Measure[]): Sum {
  const sum: Sum = {
    seconds: 0,
    unknownSeconds: 0,
    lateSeconds: 0,
    lagMsMax: 0,
    lagClasses: Array.from({ length: lagClassesMs.length + 1 }, () => 0),
    changes: 0,
    bytes: 0,
  }
  for (const measure of measures) {
    for (const name of ['seconds', 'unknownSeconds', 'lateSeconds', 'changes', 'bytes'] as const)
      sum[name] += measure[name]
    sum.lagMsMax = Math.max(sum.lagMsMax, measure.lagMsMax)
    for (const [index, seconds] of measure.lagClasses.entries())
      sum.lagClasses[index] = (sum.lagClasses[index] ?? 0) + seconds
  }
  return sum
}

const percentiles = (sum: Sum): Report['sources'][number]['lagMs'] => ({
  p50: lagPercentileMs(sum, 0.5),
  p95: lagPercentileMs(sum, 0.95),
  p99: lagPercentileMs(sum, 0.99),
  max: sum.lagClasses.some((seconds) => seconds > 0) ? sum.lagMsMax : null,
})
