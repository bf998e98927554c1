import type { Alarm } from '../../../src/api/console.ts'
import { useFormats } from '../formats/formats.ts'
import type { AlarmWords } from '../language/en/alarm-rules.ts'
import { useTexts } from '../language/language.ts'

/** The sentence of an alarm and the next step, in the language chosen. */
export function useAlarmTexts({ rule, values, message, hint }: Alarm): { sentence: string; hint: string } {
  const t = useTexts()
  const formats = useFormats()
  // A console of a newer release may know one that this page, loaded before, does not.
  if (!(rule in t.alarmRules)) return { sentence: message, hint }
  const text = (name: string): string => String(values[name] ?? '')
  const inUnit = (name: string, format: (value: number) => string): string =>
    typeof values[name] === 'number' ? format(values[name]) : ''
  const moment = (name: string): string => (text(name) === '' ? '' : formats.moment(text(name)))
  const words: AlarmWords = {
    vault: text('vault'),
    agent: text('agent'),
    source: text('source'),
    error: text('error'),
    detail: text('detail'),
    count: inUnit('count', formats.count),
    days: inUnit('days', formats.count),
    freeBytes: inUnit('freeBytes', formats.bytes),
    freePercent: inUnit('freePercent', formats.count),
    sources: inUnit('sources', formats.count),
    lagMs: inUnit('lagMs', formats.duration),
    lagMsMax: inUnit('lagMsMax', formats.duration),
    more: inUnit('more', formats.count),
    next: text('next'),
    from: moment('from'),
    until: moment('until'),
    reason: text('reason'),
    ever: text('ever'),
  }
  const { is, next } = t.alarmRules[rule]
  return { sentence: is(words), hint: next(words) }
}
