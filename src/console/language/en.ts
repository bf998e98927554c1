import type { AlarmValues } from '../alarms/rule.ts'
import type { Language } from './language.ts'

const text = (values: AlarmValues, name: string): string => String(values[name] ?? '')
const number = (values: AlarmValues, name: string): number => Number(values[name] ?? 0)
const days = (count: number): string => (count === 1 ? '1 day' : `${count} days`)
const gibibytes = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(1)} GiB`
/** `(reason)` where there is one. */
const because = (reason: string): string => (reason === '' ? '' : ` (${reason})`)

const units: readonly (readonly [name: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
]

/** The two largest units: `2 h 5 min`. */
function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  const first = units.findIndex(([, unit]) => ms >= unit)
  const [[name, unit] = ['s', 1000], next] = units.slice(first)
  const rest = next === undefined ? 0 : Math.floor((ms % unit) / next[1])
  return `${Math.floor(ms / unit)} ${name}${next === undefined || rest === 0 ? '' : ` ${rest} ${next[0]}`}`
}

export const english: Language = {
  severities: { critical: 'Critical', warning: 'Warning', information: 'Information' },
  alarms: {
    'vault-away': {
      is: (values) => `vault "${text(values, 'vault')}" cannot be reached${because(text(values, 'error'))}`,
      next: () =>
        'see whether it runs ("tidemark vault run") and whether the line to it is up; agents go on by themselves',
    },
    'vault-full': {
      is: (values) => `vault "${text(values, 'vault')}" is full: nothing is acknowledged`,
      next: () => 'make room on its file system; it goes on by itself',
    },
    'vault-damaged': {
      is: (values) =>
        `vault "${text(values, 'vault')}" has ${number(values, 'count')} damaged parts: ${text(values, 'detail')}`,
      next: () => 'keep the vault as it is, see to its disk, and run "tidemark verify" for each source',
    },
    'vault-fills': {
      is: (values) =>
        values['days'] === undefined
          ? `vault "${text(values, 'vault')}" has ${number(values, 'freePercent')} % free (${gibibytes(number(values, 'freeBytes'))})`
          : `vault "${text(values, 'vault')}" will be full in ${days(number(values, 'days'))} (${gibibytes(number(values, 'freeBytes'))} free)`,
      next: () => 'add room, or shorten the window of a source: the page Vaults shows what that would delete',
    },
    'agent-gone': {
      is: (values) =>
        `agent "${text(values, 'agent')}" is gone from vault "${text(values, 'vault')}"; sources that are not protected now: ${number(values, 'sources')}`,
      next: () =>
        'see whether its server is up, start it ("tidemark agent run") or mend the line; it catches up by itself',
    },
    'certificate-ends': {
      is: (values) =>
        `the certificate of ${values['agent'] === undefined ? 'this console' : `agent "${text(values, 'agent')}"`} for vault "${text(values, 'vault')}" ends in ${days(number(values, 'days'))}`,
      next: (values) =>
        values['agent'] === undefined
          ? 'keep the console running and connected: it renews it by itself; if it has ended, add the vault again with a new token'
          : 'keep the agent running and connected: it renews it by itself; if it has ended, join it again with a new token',
    },
    'source-stalled': {
      is: (values) =>
        `"${text(values, 'source')}" stands still: nothing has become durable for ${duration(number(values, 'lagMs'))}`,
      next: () => 'look at its problems and at the log of its agent; restart the agent if it tells nothing',
    },
    'source-late': {
      is: (values) =>
        `"${text(values, 'source')}" is ${duration(number(values, 'lagMs'))} behind, and may be ${duration(number(values, 'lagMsMax'))}`,
      next: () => 'see what the line carries and whether a limit of bandwidth holds; it catches up by itself',
    },
    'source-damaged': {
      is: (values) => `the journal of "${text(values, 'source')}" is damaged${because(text(values, 'detail'))}`,
      next: () => 'keep the vault as it is; "tidemark verify" names what is wrong',
    },
    'source-vanished': {
      is: (values) => `what "${text(values, 'source')}" protects is no longer there${because(text(values, 'detail'))}`,
      next: () => 'mount it again; nothing is taken as deleted until then',
    },
    'source-paused': {
      is: (values) => `"${text(values, 'source')}" is paused: no change of it is captured`,
      next: () =>
        'resume it when the work is done; if nobody you know paused it, look at its server and at the audit log',
    },
    'source-problem': {
      is: (values) =>
        `"${text(values, 'source')}" has a problem: ${text(values, 'detail')}${number(values, 'more') > 0 ? ` (and ${number(values, 'more')} more)` : ''}`,
      next: (values) => text(values, 'next') || 'the page of its system shows all of its problems',
    },
    'hole': {
      is: (values) =>
        `the history of "${text(values, 'source')}" has a hole from ${text(values, 'from')}${text(values, 'until') === '' ? ', and it goes on' : ` to ${text(values, 'until')}`}${because(text(values, 'reason'))}`,
      next: () => 'moments within it cannot be restored; see what filled the queue or broke the capture',
    },
    'slot-near-limit': {
      is: (values) => `the log kept for "${text(values, 'source')}" is near its limit: ${text(values, 'detail')}`,
      next: () => 'bring the line to the vault back, or allow the server to keep more log',
    },
    'verification-failed': {
      is: (values) => `the verification of "${text(values, 'source')}" failed${because(text(values, 'detail'))}`,
      next: () => 'verify an earlier moment, keep the vault as it is, and see the log of the task',
    },
    'verification-old': {
      is: (values) =>
        number(values, 'ever') === 0
          ? `"${text(values, 'source')}" has been protected for ${days(number(values, 'days'))} and was never verified`
          : `"${text(values, 'source')}" was last verified ${days(number(values, 'days'))} ago`,
      next: () => 'verify it: the page of its system has the button',
    },
  },
  message: {
    title: (first, more) => `[Tidemark] ${first}${more > 0 ? ` (and ${more} more)` : ''}`,
    raised: (severity, sentence) => `${severity}: ${sentence}`,
    worse: (severity, sentence) => `Now ${severity.toLowerCase()}: ${sentence}`,
    resolved: (sentence, lasted) => `Over after ${lasted}: ${sentence}`,
    next: (hint) => `Next: ${hint}`,
    system: (system) => `System: ${system}`,
    vault: (vault) => `Vault: ${vault}`,
    began: (moment) => `Since: ${moment}`,
    more: (count) => `${count} more: see the page Alarms of the console.`,
    lost: (count) => `${count} messages could not be sent in time and were given up.`,
    test: (channel) => `This is a test of the channel "${channel}". Alarms will arrive like this.`,
  },
  report: {
    system: 'System',
    month: 'Month (UTC)',
    source: 'Source',
    vault: 'Vault',
    measured: 'Measured (s)',
    expected: 'Expected (s)',
    p50: 'RPO p50 (ms)',
    p95: 'RPO p95 (ms)',
    p99: 'RPO p99 (ms)',
    max: 'RPO max (ms)',
    late: 'Late (s)',
    changes: 'Changes',
    bytes: 'Bytes',
    lagUpTo: 'RPO up to (ms)',
    lagAbove: 'above',
    seconds: 'Seconds',
    holes: 'Holes',
    from: 'From',
    until: 'Until',
    reason: 'Reason',
    verifications: 'Verifications',
    at: 'At',
    result: 'Result',
    good: 'good',
    bad: 'failed',
    restores: 'Restores',
    by: 'By',
    state: 'State',
    alarms: 'Alarms',
    severity: 'Severity',
    rule: 'Alarm',
    acknowledged: 'Acknowledged by',
  },
  duration,
}
