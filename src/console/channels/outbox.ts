import type { Channel } from '../../api/console.ts'
import { messageOf } from '../../base/errors.ts'
import type { Moment } from '../../model/moment.ts'
import type { Database } from '../database.ts'
import type { Told } from './message.ts'

/** Of one channel; then the oldest are given up. */
export const waitingMax = 1000
/** What was not taken within this is given up. */
export const triedForMs: number = 86_400_000
/** Of one message. */
export const togetherMax = 200
/** Between tries, the last one again and again: within a day some thirty. */
const pausesMs = [5_000, 15_000, 60_000, 300_000, 900_000, 1_800_000, 3_600_000] as const

export interface Waiting {
  readonly numbers: readonly number[]
  readonly told: readonly Told[]
  /** Given up since the last message that was taken. */
  readonly lost: number
  readonly tries: number
}

/** What waits to be sent, of each channel in its order. What is in here is sent at least once, or given up after a day and told as lost. */
export class Outbox {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Part of a transaction of the caller: with what is told, or not at all. */
  add(channels: readonly Channel[], told: readonly Told[], now: Moment): void {
    const insert = this.#database.sqlite.prepare('INSERT INTO outbox (channel, event, alarm, at) VALUES (?, ?, ?, ?)')
    for (const { id, enabled, severities } of channels) {
      const wanted = told.filter(({ alarm }) => enabled && severities.includes(alarm.severity))
      for (const { event, alarm } of wanted) insert.run(id, event, JSON.stringify(alarm), now)
      if (wanted.length > 0) this.#giveUp(id, now)
    }
  }

  /** What waits longest; undefined where nothing does, or where a pause is not over yet. */
  next(channel: string, now: Moment): Waiting | undefined {
    this.#database.atomically(() => this.#giveUp(channel, now))
    const { sqlite } = this.#database
    const state = sqlite.prepare('SELECT tries, next_try, lost FROM channels WHERE id = ?').get(channel)
    if (state === undefined) return undefined
    const { tries, next_try: nextTry, lost } = state as { tries: number; next_try: number | null; lost: number }
    if (nextTry !== null && nextTry > now) return undefined
    const rows = sqlite
      .prepare('SELECT number, event, alarm FROM outbox WHERE channel = ? ORDER BY number LIMIT ?')
      .all(channel, togetherMax) as { number: number; event: Told['event']; alarm: string }[]
    if (rows.length === 0) return undefined
    return {
      numbers: rows.map(({ number }) => number),
      told: rows.map(({ event, alarm }) => ({ event, alarm: JSON.parse(alarm) as Told['alarm'] })),
      lost,
      tries,
    }
  }

  taken(channel: string, { numbers, lost }: Waiting, now: Moment): void {
    this.#database.atomically(() => {
      const { sqlite } = this.#database
      const remove = sqlite.prepare('DELETE FROM outbox WHERE number = ?')
      for (const number of numbers) remove.run(number)
      sqlite
        .prepare(
          'UPDATE channels SET tries = 0, next_try = NULL, last_sent = ?, last_error = NULL, lost = lost - ? WHERE id = ?',
        )
        .run(now, lost, channel)
    })
  }

  /** `fraction` in [0, 1) keeps two channels of one receiver from trying in step. */
  failed(channel: string, error: unknown, fraction: number, now: Moment): void {
    this.#database.atomically(() => {
      const { sqlite } = this.#database
      const row = sqlite.prepare('SELECT tries FROM channels WHERE id = ?').get(channel) as
        | { tries: number }
        | undefined
      // Somebody has removed it meanwhile, and with it what waited.
      if (row === undefined) return
      const pauseMs = pausesMs[Math.min(row.tries, pausesMs.length - 1)] as number
      const next = now + Math.round(pauseMs * 1000 * (0.75 + fraction / 2))
      sqlite
        .prepare('UPDATE channels SET tries = tries + 1, next_try = ?, last_error = ? WHERE id = ?')
        .run(next, messageOf(error), channel)
    })
  }

  #giveUp(channel: string, now: Moment): void {
    const { sqlite } = this.#database
    const { changes } = sqlite
      .prepare(
        `DELETE FROM outbox WHERE channel = ? AND (at < ? OR number <=
           (SELECT number FROM outbox WHERE channel = ? ORDER BY number DESC LIMIT 1 OFFSET ?))`,
      )
      .run(channel, now - triedForMs * 1000, channel, waitingMax)
    if (changes > 0) sqlite.prepare('UPDATE channels SET lost = lost + ? WHERE id = ?').run(changes, channel)
  }
}
