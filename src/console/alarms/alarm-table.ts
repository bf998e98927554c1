import type { SQLInputValue } from 'node:sqlite'
import type { z } from 'zod'
import type { Alarm, alarmsRequest, AlarmRule, Severity } from '../../api/console.ts'
import { assert } from '../../base/assert.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import { sentencesOf, type Told } from '../channels/message.ts'
import type { Database } from '../database.ts'
import { english } from '../language/en.ts'
import type { AlarmChange, OpenAlarm } from './evaluate.ts'
import type { AlarmValues } from './rule.ts'

/** Alarms that are over are kept for so long, and no more of them than these. */
export const historyKeptMs: number = 400 * 86_400_000
export const historyMax = 100_000

interface Row {
  readonly number: number
  readonly id: string
  readonly key: string
  readonly instance: string | null
  readonly rule: string
  readonly severity: string
  readonly vault: string
  readonly agent: string | null
  readonly source: string | null
  readonly system: string | null
  readonly subject: string | null
  readonly facts: string
  readonly message: string
  readonly hint: string
  readonly began: number
  readonly ended: number | null
  readonly acknowledged_by: string | null
  readonly acknowledged: number | null
  readonly told: number
  readonly silenced_by: string | null
  readonly silenced_until: number | null
}

const columns = `alarms.*, silences.by AS silenced_by, silences.until AS silenced_until
  FROM alarms LEFT JOIN silences ON silences.key = alarms.key AND silences.until > ?`

/** The alarms that last and those that are over; of a key one lasts at a time. */
export class AlarmTable {
  readonly #database: Database
  readonly #random: Random

  constructor(database: Database, random: Random) {
    this.#database = database
    this.#random = random
  }

  /** As the rules remember them. */
  remembered(): OpenAlarm[] {
    const rows = this.#all('SELECT *, NULL AS silenced_by, NULL AS silenced_until FROM alarms WHERE ended IS NULL')
    return rows.map((row) => ({
      about: {
        rule: row.rule as AlarmRule,
        vault: row.vault,
        ...(row.agent === null ? {} : { agent: row.agent }),
        ...(row.source === null ? {} : { source: row.source }),
        ...(row.system === null ? {} : { system: row.system }),
        ...(row.subject === null ? {} : { subject: row.subject }),
      },
      severity: row.severity as Severity,
      values: JSON.parse(row.facts) as AlarmValues,
      ...(row.instance === null ? {} : { instance: row.instance }),
    }))
  }

  /** Part of a transaction of the caller. Gives the alarms as they are now, and what the channels should hear of it. */
  apply(changes: readonly AlarmChange[], now: Moment): { readonly alarms: Alarm[]; readonly told: Told[] } {
    const alarms: Alarm[] = []
    const told: Told[] = []
    for (const change of changes) {
      const number = change.kind === 'raised' ? this.#raise(change.key, change.alarm, now) : this.#numberOf(change.key)
      if (change.kind === 'changed') this.#change(number, change.alarm)
      if (change.kind === 'resolved') this.#run('UPDATE alarms SET ended = ? WHERE number = ?', now, number)
      const row = this.#row('number', number, now)
      const alarm = alarmOf(row)
      alarms.push(alarm)
      if (row.told === 0) continue
      if (change.kind === 'resolved') told.push({ event: 'resolved', alarm })
      else if (change.kind === 'changed' && change.isWorse && alarm.silenced === undefined)
        told.push({ event: 'worse', alarm })
    }
    return { alarms, told: [...told, ...this.#untold(now)] }
  }

  hasUntold(now: Moment): boolean {
    return this.#untoldRows(now).length > 0
  }

  /** Told now. */
  #untold(now: Moment): Told[] {
    const rows = this.#untoldRows(now)
    for (const { number } of rows) this.#run('UPDATE alarms SET told = 1 WHERE number = ?', number)
    return rows.map((row) => ({ event: 'raised', alarm: alarmOf(row) }))
  }

  /** Open, not told yet, and not silenced (any more). */
  #untoldRows(now: Moment): Row[] {
    return this.#all(`SELECT ${columns} WHERE ended IS NULL AND told = 0 AND silences.key IS NULL ORDER BY number`, now)
  }

  open(now: Moment): Alarm[] {
    return this.#all(`SELECT ${columns} WHERE ended IS NULL ORDER BY number DESC`, now).map(alarmOf)
  }

  /** The newest first. */
  search(wanted: z.infer<typeof alarmsRequest>, now: Moment): Alarm[] {
    const { where, values } = conditions(wanted)
    return this.#all(
      `SELECT ${columns} WHERE number < ? ${where} ORDER BY number DESC LIMIT ?`,
      now,
      wanted.before ?? Number.MAX_SAFE_INTEGER,
      ...values,
      wanted.limit,
    ).map(alarmOf)
  }

  demand(id: string, now: Moment): Alarm {
    return alarmOf(this.#row('id', id, now))
  }

  acknowledge(id: string, by: string, now: Moment): Alarm {
    return this.#database.atomically(() => {
      const { number, acknowledged } = this.#row('id', id, now)
      if (acknowledged === null)
        this.#run('UPDATE alarms SET acknowledged_by = ?, acknowledged = ? WHERE number = ?', by, now, number)
      return this.demand(id, now)
    })
  }

  /** Until then its channels hear nothing of it, nor of the next one of its kind about the same. `undefined`: no longer. */
  silence(id: string, by: string, until: Moment | undefined, now: Moment): Alarm {
    return this.#database.atomically(() => {
      const { key } = this.#row('id', id, now)
      if (until === undefined) this.#run('DELETE FROM silences WHERE key = ?', key)
      else this.#run('INSERT OR REPLACE INTO silences (key, by, until) VALUES (?, ?, ?)', key, by, until)
      return this.demand(id, now)
    })
  }

  trim(now: Moment, { keptMs = historyKeptMs, rowsMax = historyMax } = {}): void {
    this.#database.atomically(() => {
      this.#run('DELETE FROM alarms WHERE ended < ?', now - keptMs * 1000)
      this.#run(
        `DELETE FROM alarms WHERE ended IS NOT NULL AND number <=
           (SELECT number FROM alarms WHERE ended IS NOT NULL ORDER BY number DESC LIMIT 1 OFFSET ?)`,
        rowsMax,
      )
      this.#run('DELETE FROM silences WHERE until <= ?', now)
    })
  }

  #raise(key: string, { about, severity, values, instance }: OpenAlarm, now: Moment): number {
    const { is, next } = sentencesOf({ rule: about.rule, values }, english)
    const { lastInsertRowid } = this.#database.sqlite
      .prepare(
        `INSERT INTO alarms (id, key, instance, rule, severity, vault, agent, source, system, subject, facts, message, hint, began)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        Buffer.from(this.#random.bytes(16)).toString('hex'),
        key,
        instance ?? null,
        about.rule,
        severity,
        about.vault,
        about.agent ?? null,
        about.source ?? null,
        about.system ?? null,
        about.subject ?? null,
        JSON.stringify(values),
        is,
        next,
        now,
      )
    return Number(lastInsertRowid)
  }

  #change(number: number, { about, severity, values }: OpenAlarm): void {
    const { is, next } = sentencesOf({ rule: about.rule, values }, english)
    this.#run(
      'UPDATE alarms SET severity = ?, facts = ?, message = ?, hint = ? WHERE number = ?',
      severity,
      JSON.stringify(values),
      is,
      next,
      number,
    )
  }

  #numberOf(key: string): number {
    const [row] = this.#database.sqlite.prepare('SELECT number FROM alarms WHERE key = ? AND ended IS NULL').all(key)
    assert(row !== undefined, `the alarm ${key} is open`)
    return row['number'] as number
  }

  #row(column: 'id' | 'number', value: SQLInputValue, now: Moment): Row {
    const [row] = this.#all(`SELECT ${columns} WHERE alarms.${column} = ?`, now, value)
    if (row !== undefined) return row
    throw new TidemarkError('not-found', {
      message: `there is no alarm "${value}"`,
      hint: 'load the list again: those that are over leave it after 400 days',
    })
  }

  #all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#database.sqlite.prepare(sql).all(...values) as unknown as Row[]
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#database.sqlite.prepare(sql).run(...values)
  }
}

const alarmOf = (row: Row): Alarm => ({
  id: row.id,
  number: row.number,
  rule: row.rule as AlarmRule,
  severity: row.severity as Severity,
  vault: row.vault,
  ...(row.system === null ? {} : { system: row.system }),
  ...(row.source === null ? {} : { source: row.source }),
  ...(row.agent === null ? {} : { agent: row.agent }),
  values: JSON.parse(row.facts) as AlarmValues,
  message: row.message,
  hint: row.hint,
  began: isoMoment(row.began as Moment),
  ended: row.ended === null ? null : isoMoment(row.ended as Moment),
  ...(row.acknowledged_by === null || row.acknowledged === null
    ? {}
    : { acknowledged: { by: row.acknowledged_by, at: isoMoment(row.acknowledged as Moment) } }),
  ...(row.silenced_by === null || row.silenced_until === null
    ? {}
    : { silenced: { by: row.silenced_by, until: isoMoment(row.silenced_until as Moment) } }),
})

function conditions(wanted: z.infer<typeof alarmsRequest>): { where: string; values: SQLInputValue[] } {
  const all: [string, ...SQLInputValue[]][] = []
  const { open, from, to, text } = wanted
  if (open !== undefined) all.push([`ended IS ${open ? '' : 'NOT '}NULL`])
  if (from !== undefined) all.push(['(ended IS NULL OR ended >= ?)', Date.parse(from) * 1000])
  if (to !== undefined) all.push(['began <= ?', Date.parse(to) * 1000])
  for (const column of ['severity', 'rule', 'vault', 'system'] as const) {
    const value = wanted[column]
    if (value !== undefined) all.push([`${column} = ?`, value])
  }
  if (text !== undefined) {
    const like = `%${text.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`
    const searched = ['message', 'agent', 'source', 'system']
    all.push([
      `(${searched.map((column) => String.raw`${column} LIKE ? ESCAPE '\'`).join(' OR ')})`,
      ...searched.map(() => like),
    ])
  }
  return {
    where: all.map(([condition]) => `AND ${condition}`).join(' '),
    values: all.flatMap(([, ...values]) => values),
  }
}
