import type { Command } from 'commander'
import { apiPath } from '../api/client.ts'
import {
  lagClassesMs,
  lagPercentileMs,
  type Measure,
  measuresAnswer,
  measuresMax,
  type MeasureStep,
} from '../api/measures.ts'
import { TidemarkError } from '../base/errors.ts'
import { formatMoment, isoMoment, type Moment, moment } from '../model/moment.ts'
import { connect } from './connect.ts'
import { formatBytes, formatCount, formatDurationMs, formatTable } from './format.ts'
import { duration } from './option-values.ts'
import { isoToMoment } from './points.ts'
import { exitStatusHelp, type Parts } from './parts.ts'

const stepMs: Readonly<Record<MeasureStep, number>> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 }
/** Longer spans are told in longer steps. */
const rowsMax = 100

export function lagCommand(program: Command, parts: Parts): void {
  program
    .command('lag')
    .argument('<source>')
    .description('how far the vault was behind the source, as it was measured there: percentiles, and step by step')
    .option('--last <duration>', 'how far back (2h, 7d, 52w)', '24h')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
The lag is looked at once a second. Minutes are kept for 35 days, hours for 400, days for five years; time in which the
vault did not run is told as not measured, never as good.
Examples:
  tidemark lag documents
  tidemark lag documents --last 30d
  tidemark lag documents --last 7d --json | jq .lagMs.p99
${exitStatusHelp}`,
    )
    .action(async (source: string, options: { last: string; json?: boolean }, command: Command) => {
      const lastMs = duration('--last', options.last) ?? 0
      const step = (['minute', 'hour', 'day'] as const).find((one) => lastMs / stepMs[one] <= rowsMax) ?? 'day'
      if (lastMs < stepMs.minute || lastMs / stepMs[step] > measuresMax)
        throw new TidemarkError('bad-request', {
          message: `--last ${options.last} is ${lastMs < stepMs.minute ? 'shorter than a minute' : 'too long'}`,
          hint: 'days are kept for five years',
        })
      const now = parts.clock.now()
      const from = isoMoment(moment(Math.max(0, Math.round(now - lastMs * 1000))))
      const asked = { from, to: isoMoment(now as Moment), step }
      const path = apiPath(`/v1/sources/${encodeURIComponent(source)}/measures`, asked)
      const { measures } = await connect(command, parts).json('GET', path, measuresAnswer)
      const sum = summed(measures, lastMs)
      parts.out.write(
        options.json ? `${JSON.stringify({ source, ...asked, ...sum, measures })}\n` : describe(sum, measures),
      )
    })
}

interface Summed {
  readonly lagMs: Readonly<Record<'p50' | 'p95' | 'p99', number | null>> & { readonly max: number }
  readonly seconds: number
  readonly unknownSeconds: number
  readonly lateSeconds: number
  readonly notMeasuredSeconds: number
  readonly changes: number
  readonly bytes: number
}

function summed(measures: readonly Measure[], lastMs: number): Summed {
  const of = (value: (one: Measure) => number): number => measures.reduce((sum, one) => sum + value(one), 0)
  const lagClasses = Array.from({ length: lagClassesMs.length + 1 }, (_, lagClass) =>
    of((one) => one.lagClasses[lagClass] ?? 0),
  )
  const lagMsMax = measures.reduce((max, one) => Math.max(max, one.lagMsMax), 0)
  const percentile = (part: number): number | null => lagPercentileMs({ lagClasses, lagMsMax }, part)
  const seconds = of((one) => one.seconds)
  return {
    lagMs: { p50: percentile(0.5), p95: percentile(0.95), p99: percentile(0.99), max: lagMsMax },
    seconds,
    unknownSeconds: of((one) => one.unknownSeconds),
    lateSeconds: of((one) => one.lateSeconds),
    // The first and the last step are told whole.
    notMeasuredSeconds: Math.max(0, Math.round(lastMs / 1000) - seconds),
    changes: of((one) => one.changes),
    bytes: of((one) => one.bytes),
  }
}

function describe(sum: Summed, measures: readonly Measure[]): string {
  if (measures.length === 0) return 'nothing was measured then\n'
  const upTo = (ms: number | null): string => (ms === null ? '-' : `${formatDurationMs(ms)}`)
  const { p50, p95, p99, max } = sum.lagMs
  const span = (seconds: number): string => formatDurationMs(seconds * 1000)
  const head = [
    `lag: half of the time up to ${upTo(p50)}, 95 % up to ${upTo(p95)}, 99 % up to ${upTo(p99)}, never above ${upTo(max)}`,
    `measured ${span(sum.seconds)}: late ${span(sum.lateSeconds)}, lag not known ${span(sum.unknownSeconds)}; not measured ${span(sum.notMeasuredSeconds)}`,
    `${formatCount(sum.changes)} changes, ${formatBytes(sum.bytes)} received`,
  ]
  const rows = measures.map((one) => [
    formatMoment(isoToMoment(one.at)),
    one.worst,
    upTo(lagPercentileMs(one, 0.5)),
    upTo(lagPercentileMs(one, 0.99)),
    upTo(one.lagMsMax),
    one.lateSeconds === 0 ? '' : span(one.lateSeconds),
    formatCount(one.changes),
    formatBytes(one.bytes),
  ])
  const table = formatTable(
    ['FROM', 'WORST', '50 %', '99 %', 'MAX', 'LATE', 'CHANGES', 'RECEIVED'],
    rows,
    [2, 3, 4, 5, 6, 7],
  )
  return `${head.join('\n')}\n${table}`
}
