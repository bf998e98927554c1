import { createHash } from 'node:crypto'
import type { SQLInputValue } from 'node:sqlite'
import type { z } from 'zod'
import type { AuditAction, AuditRecord, auditRequest, auditVerification } from '../api/console.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { isoMoment, type Moment } from '../model/moment.ts'
import type { Database } from './database.ts'

/** Records are kept for so long at least; the law asks for six months. */
export const auditKeptMs: number = 365 * 86_400_000
/** Read at once while the chain is walked. */
const pageRecords = 1_000
const textMax = 2_000

export type Happened = Pick<AuditRecord, 'user' | 'address' | 'subject' | 'outcome' | 'detail'> & {
  readonly action: AuditAction
}
export type AuditWanted = z.infer<typeof auditRequest>
export type AuditVerification = z.infer<typeof auditVerification>

interface Row extends Omit<Happened, 'action'> {
  readonly action: string
  readonly number: number
  readonly at: number
  readonly hash: string
}

interface Ends {
  readonly before: number
  readonly before_hash: string
  readonly last: number
  readonly last_hash: string
}

/**
 * The hash of a record, in hexadecimal: SHA-256 of the hash before it, a line feed, and the record as a JSON array
 * [number, at, user, address, action, subject, outcome, detail]. Before the first stands the hash of the console's id.
 */
export function auditHash(before: string, record: Omit<AuditRecord, 'hash'>): string {
  const { number, at, user, address, action, subject, outcome, detail } = record
  const text = JSON.stringify([number, at, user, address, action, subject, outcome, detail])
  return createHash('sha256').update(`${before}\n${text}`, 'utf8').digest('hex')
}

const firstHash = (console: string): string =>
  createHash('sha256').update(`tidemark console ${console}`, 'utf8').digest('hex')

/**
 * What users did and were refused, as a chain: no record can be changed, left out or moved without every later hash being
 * another. Secrets are never written here. What leaves after its time is replaced by a record that says so, with the hash
 * at which the rest begins.
 */
export class Audit {
  readonly #database: Database
  readonly #clock: Clock
  #verifying = 0

  constructor(database: Database, clock: Clock, random: Random) {
    this.#database = database
    this.#clock = clock
    database.atomically(() => this.#begin(random))
  }

  /** At the first opening: a chain of one console is never taken for that of another. */
  #begin(random: Random): void {
    const { sqlite } = this.#database
    if (sqlite.prepare('SELECT id FROM console').get() !== undefined) return
    const id = Buffer.from(random.bytes(16)).toString('hex')
    const hash = firstHash(id)
    sqlite.prepare('INSERT INTO console (id, created) VALUES (?, ?)').run(id, this.#clock.now())
    sqlite.prepare('INSERT INTO audit_ends (before, before_hash, last, last_hash) VALUES (0, ?, 0, ?)').run(hash, hash)
  }

  /** The number of the newest record. */
  get last(): number {
    return this.#ends().last
  }

  /** Durable when this returns, unless it is part of something that is not committed yet. */
  record(happened: Happened): AuditRecord {
    return this.#database.atomically(() => {
      const { last, last_hash: before } = this.#ends()
      const at = this.#clock.now()
      const record = {
        number: last + 1,
        at: isoMoment(at as Moment),
        user: happened.user === null ? null : shortened(happened.user),
        address: shortened(happened.address),
        action: shortened(happened.action),
        subject: shortened(happened.subject),
        outcome: happened.outcome,
        detail: shortened(happened.detail),
      }
      const hash = auditHash(before, record)
      const { number, user, address, action, subject, outcome, detail } = record
      const { sqlite } = this.#database
      sqlite
        .prepare('INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)')
        .run(number, at, user, address, action, subject, outcome, detail, hash)
      sqlite.prepare('UPDATE audit_ends SET last = ?, last_hash = ?').run(number, hash)
      return { ...record, hash }
    })
  }

  /** Before something is done elsewhere that must be recorded afterwards: throws where nothing can be written now. */
  demandWritable(): void {
    try {
      this.#database.atomically(() => this.#database.sqlite.exec('UPDATE audit_ends SET last = last'))
    } catch (error) {
      throw new TidemarkError('no-space', {
        message: `the audit log cannot be written, so nothing is done: ${messageOf(error)}`,
        hint: "make room where the console's directory is, and see that it may be written",
        cause: error,
      })
    }
  }

  /** The newest first. */
  search({ limit, before, ...wanted }: AuditWanted): AuditRecord[] {
    const { where, values } = conditions(wanted)
    const rows = this.#database.sqlite
      .prepare(`SELECT * FROM audit WHERE number < ? ${where} ORDER BY number DESC LIMIT ?`)
      .all(before ?? Number.MAX_SAFE_INTEGER, ...values, limit)
    return (rows as unknown as Row[]).map(recordOf)
  }

  /** The oldest first, as many as there are. */
  async *all(wanted: Pick<AuditWanted, 'from' | 'to' | 'user' | 'text'>): AsyncGenerator<AuditRecord> {
    const { where, values } = conditions(wanted)
    const page = this.#database.sqlite.prepare(
      `SELECT * FROM audit WHERE number > ? ${where} ORDER BY number LIMIT ${pageRecords}`,
    )
    for (let after = 0; ;) {
      const rows = page.all(after, ...values) as unknown as Row[]
      for (const row of rows) yield recordOf(row)
      const newest = rows.at(-1)
      if (newest === undefined) return
      after = newest.number
      await turn()
    }
  }

  /** Walks the chain. Whoever noted `lastHash` elsewhere also knows that the whole was not written anew. */
  async verify(): Promise<AuditVerification> {
    this.#verifying++
    try {
      return await this.#verified(this.#ends())
    } finally {
      this.#verifying--
    }
  }

  async #verified(ends: Ends): Promise<AuditVerification> {
    const page = this.#database.sqlite.prepare(
      `SELECT * FROM audit WHERE number > ? AND number <= ? ORDER BY number LIMIT ${pageRecords}`,
    )
    const broken = (firstBroken: number): AuditVerification => ({
      records: at - ends.before,
      intact: false,
      firstBroken,
      lastHash: ends.last_hash,
    })
    let hash = ends.before_hash
    let at = ends.before
    if (ends.before === 0 && hash !== firstHash(this.#console())) return broken(1)
    for (let anchor: string | undefined; ;) {
      const rows = page.all(at, ends.last) as unknown as Row[]
      for (const row of rows) {
        const record = recordOf(row)
        hash = auditHash(hash, record)
        if (row.number !== at + 1 || row.hash !== hash) return broken(at + 1)
        at = row.number
        if (row.action === trimmedAction) anchor = row.detail
      }
      if (rows.length > 0) {
        await turn()
        continue
      }
      // What was removed from the beginning must have been removed by the console.
      if (ends.before > 0 && anchor !== trimmedDetail(ends.before, ends.before_hash)) return broken(ends.before + 1)
      if (at !== ends.last || hash !== ends.last_hash) return broken(at + 1)
      return { records: at - ends.before, intact: true, firstBroken: null, lastHash: hash }
    }
  }

  /** Removes what has been kept for long enough. A record of a clock that was wrong takes none that came before it along. */
  trim(keptMs: number = auditKeptMs): void {
    if (this.#verifying > 0) return
    this.#database.atomically(() => {
      const { sqlite } = this.#database
      const keptFrom = this.#clock.now() - keptMs * 1000
      const old = sqlite
        .prepare(
          `SELECT number, hash FROM audit
             WHERE number < coalesce((SELECT min(number) FROM audit WHERE at >= ?), ?) ORDER BY number DESC LIMIT 1`,
        )
        .get(keptFrom, Number.MAX_SAFE_INTEGER) as { number: number; hash: string } | undefined
      if (old === undefined) return
      this.record({
        user: null,
        address: 'console',
        action: trimmedAction,
        subject: `records up to ${old.number}`,
        outcome: 'done',
        detail: trimmedDetail(old.number, old.hash),
      })
      sqlite.prepare('DELETE FROM audit WHERE number <= ?').run(old.number)
      sqlite.prepare('UPDATE audit_ends SET before = ?, before_hash = ?').run(old.number, old.hash)
    })
  }

  #ends(): Ends {
    return this.#database.sqlite.prepare('SELECT * FROM audit_ends').get() as unknown as Ends
  }

  #console(): string {
    return (this.#database.sqlite.prepare('SELECT id FROM console').get() as { id: string }).id
  }
}

const trimmedAction = 'audit-trim'
const trimmedDetail = (number: number, hash: string): string => `the chain goes on after ${number} from ${hash}`

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const recordOf = (row: Row): AuditRecord => ({ ...row, at: isoMoment(row.at as Moment) })

/**
 * Of what somebody sent: not endless, nothing that a terminal would obey or that turns what stands beside it round, and
 * well-formed, or the database would keep another text than the one that was hashed.
 */
function shortened(text: string): string {
  const shown = text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]+/gu, ' ')
  return (shown.length > textMax ? `${shown.slice(0, textMax - 1)}…` : shown).toWellFormed()
}

function conditions({ from, to, user, text }: Pick<AuditWanted, 'from' | 'to' | 'user' | 'text'>): {
  where: string
  values: SQLInputValue[]
} {
  const all: [string, ...SQLInputValue[]][] = []
  if (from !== undefined) all.push(['at >= ?', microseconds(from)])
  if (to !== undefined) all.push(['at <= ?', microseconds(to)])
  if (user !== undefined) all.push(['user = ? COLLATE NOCASE', user])
  if (text !== undefined) {
    const like = `%${text.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`
    const columns = ['user', 'address', 'action', 'subject', 'detail']
    all.push([
      `(${columns.map((column) => String.raw`${column} LIKE ? ESCAPE '\'`).join(' OR ')})`,
      ...columns.map(() => like),
    ])
  }
  return {
    where: all.map(([condition]) => `AND ${condition}`).join(' '),
    values: all.flatMap(([, ...values]) => values),
  }
}

const microseconds = (iso: string): number => Date.parse(`${iso.slice(0, 23)}Z`) * 1000 + Number(iso.slice(23, 26))
