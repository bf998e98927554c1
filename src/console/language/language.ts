import type { AlarmRule, Severity } from '../../api/console.ts'
import type { AlarmValues } from '../alarms/rule.ts'

/**
 * What the console says where there is no browser: in e-mails and messages to groups, and in reports as files. What the browser
 * shows stands in web/src/language.
 */
export interface Language {
  readonly severities: Readonly<Record<Severity, string>>
  /** Of each rule what is so, and the next step. */
  readonly alarms: Readonly<Record<AlarmRule, AlarmSentences>>
  readonly message: {
    readonly title: (first: string, more: number) => string
    readonly raised: (severity: string, sentence: string) => string
    readonly worse: (severity: string, sentence: string) => string
    readonly resolved: (sentence: string, lasted: string) => string
    readonly next: (hint: string) => string
    readonly system: (system: string) => string
    readonly vault: (vault: string) => string
    readonly began: (moment: string) => string
    readonly more: (count: number) => string
    readonly lost: (count: number) => string
    readonly test: (channel: string) => string
  }
  readonly report: Readonly<Record<ReportWord, string>>
  readonly duration: (ms: number) => string
}

export interface AlarmSentences {
  readonly is: (values: AlarmValues) => string
  readonly next: (values: AlarmValues) => string
}

export const reportWords = [
  'system',
  'month',
  'source',
  'vault',
  'measured',
  'expected',
  'p50',
  'p95',
  'p99',
  'max',
  'late',
  'changes',
  'bytes',
  'lagUpTo',
  'lagAbove',
  'seconds',
  'holes',
  'from',
  'until',
  'reason',
  'verifications',
  'at',
  'result',
  'good',
  'bad',
  'restores',
  'by',
  'state',
  'alarms',
  'severity',
  'rule',
  'acknowledged',
] as const
export type ReportWord = (typeof reportWords)[number]
