import type { Alarm } from '../../api/console.ts'
import { formatMoment, type Moment } from '../../model/moment.ts'
import type { AlarmValues } from '../alarms/rule.ts'
import type { Language } from '../language/language.ts'

/** What has become of an alarm, with the alarm as it was then. */
export interface Told {
  readonly event: 'raised' | 'worse' | 'resolved'
  readonly alarm: Alarm
}

export interface Message {
  readonly title: string
  readonly text: string
}

/** Told one by one in a message; of more only how many they are. */
const inFullMax = 10
/** Of a detail, which may be the words of a database server. */
const detailMax = 300
const isoPattern = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/

/** At most `textBytesMax` of UTF-8, whatever the details say. `lost`: how many were given up since the last message. */
export function compose(told: readonly Told[], lost: number, language: Language, textBytesMax: number): Message {
  const { message } = language
  const paragraphs = told.slice(0, inFullMax).map((one) => paragraphOf(one, language))
  const last = lost > 0 ? [message.lost(lost)] : []
  const whole = (count: number): string => {
    const more = told.length - count
    return [...paragraphs.slice(0, count), ...(more > 0 ? [message.more(more)] : []), ...last].join('\n\n')
  }
  let count = paragraphs.length
  while (count > 0 && Buffer.byteLength(whole(count)) > textBytesMax) count--
  const [first] = told
  return {
    title: message.title(first === undefined ? '' : headOf(first, language), Math.max(0, told.length - 1)),
    text: whole(count),
  }
}

export const testMessage = (channel: string, language: Language): Message => {
  const text = language.message.test(plain(channel))
  return { title: language.message.title(text, 0), text }
}

/** The sentence of an alarm and its next step. */
export function sentencesOf(
  { rule, values }: Pick<Alarm, 'rule' | 'values'>,
  language: Language,
): { is: string; next: string } {
  const shown = shownValues(values)
  const { is, next } = language.alarms[rule]
  return { is: is(shown), next: next(shown) }
}

function paragraphOf(told: Told, language: Language): string {
  const { alarm, event } = told
  const { message } = language
  const lines = [headOf(told, language)]
  if (alarm.system !== undefined) lines.push(message.system(plain(alarm.system)))
  if (event !== 'resolved') {
    lines.push(message.began(momentOf(alarm.began)), message.next(sentencesOf(alarm, language).next))
  }
  return lines.join('\n')
}

function headOf({ event, alarm }: Told, { message, severities, ...language }: Language): string {
  const { is } = sentencesOf(alarm, { message, severities, ...language })
  switch (event) {
    case 'raised':
      return message.raised(severities[alarm.severity], is)
    case 'worse':
      return message.worse(severities[alarm.severity], is)
    case 'resolved':
      return message.resolved(is, language.duration(lastedMs(alarm)))
  }
}

const lastedMs = ({ began, ended }: Alarm): number => Math.max(0, Date.parse(ended ?? began) - Date.parse(began))

const shownValues = (values: AlarmValues): AlarmValues =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      typeof value === 'number' ? value : isoPattern.test(value) ? momentOf(value) : plain(value),
    ]),
  )

const momentOf = (iso: string): string => formatMoment((Date.parse(iso) * 1000) as Moment)

/** One line: what others wrote (names of files, words of servers) breaks no message. */
function plain(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim()
  return line.length > detailMax ? `${line.slice(0, detailMax - 1)}…` : line
}
