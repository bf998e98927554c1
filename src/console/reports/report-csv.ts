import type { Report } from '../../api/console.ts'
import { lagClassesMs } from '../../api/measures.ts'
import { formatMoment, type Moment } from '../../model/moment.ts'
import { sentencesOf } from '../channels/message.ts'
import { csvBegin, csvLine } from '../csv.ts'
import type { Language } from '../language/language.ts'

/** The tables of a report below each other, an empty line between, as an office opens them. */
export function reportCsv({ system, month, sources, restores, alarms, missing }: Report, language: Language): string {
  const { report: words, severities } = language
  const tables: (string | number | null)[][][] = [
    [
      [words.system, system],
      [words.month, month],
    ],
    [
      [
        ...[words.source, words.vault, words.expected, words.measured, words.late],
        ...[words.p50, words.p95, words.p99, words.max, words.changes, words.bytes],
      ],
      ...sources.map((source) => [
        ...[source.name, source.vault, source.secondsExpected, source.secondsMeasured, source.lateSeconds],
        ...[source.lagMs.p50, source.lagMs.p95, source.lagMs.p99, source.lagMs.max, source.changes, source.bytes],
      ]),
      ...missing.map(({ source, vault, reason }) => [source, vault, reason]),
    ],
    [
      [words.lagUpTo, ...sources.map(({ name, vault }) => `${name} (${vault}): ${words.seconds}`)],
      ...[...lagClassesMs, words.lagAbove].map((bound, at) => [
        bound,
        ...sources.map(({ lagClasses }) => lagClasses[at] ?? 0),
      ]),
    ],
    [
      [words.holes],
      [words.source, words.from, words.until, words.reason],
      ...sources.flatMap(({ name, holes }) =>
        holes.map(({ from, until, reason }) => [name, shown(from), shown(until), reason]),
      ),
    ],
    [
      [words.verifications],
      [words.source, words.at, words.result, words.reason, words.by],
      ...sources.flatMap(({ name, verifications }) =>
        verifications.map(({ at, good, text, by }) => [name, shown(at), good ? words.good : words.bad, text, by]),
      ),
    ],
    [
      [words.restores],
      [words.source, words.vault, words.by, words.from, words.until, words.seconds, words.bytes, words.state],
      ...restores.map(({ source, vault, by, began, ended, seconds, bytes, state }) => [
        ...[source, vault, by, shown(began), shown(ended), seconds, bytes, state],
      ]),
    ],
    [
      [words.alarms],
      [words.severity, words.rule, words.from, words.until, words.acknowledged],
      ...alarms.map((alarm) => [
        severities[alarm.severity],
        sentencesOf(alarm, language).is,
        shown(alarm.began),
        shown(alarm.ended),
        alarm.acknowledged?.by ?? '',
      ]),
    ],
  ]
  return csvBegin + tables.map((rows) => rows.map(csvLine).join('')).join('\r\n')
}

const shown = (iso: string | null): string => (iso === null ? '' : formatMoment((Date.parse(iso) * 1000) as Moment))
