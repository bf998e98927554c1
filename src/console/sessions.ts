import { createHash } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Database } from './database.ts'

/** A session ends so long after it began, and after it was last used. */
export const sessionMsMax: number = 12 * 3_600_000
export const idleMsMax: number = 30 * 60_000
/** When it was last used is written down not more often than this. */
const writtenEveryMs = 60_000
/** Of one account at a time: the one used longest ago ends. */
const sessionsOfAccountMax = 16
const tokenBytes = 32

export interface Session {
  /** SHA-256 of the token; the token itself is the browser's alone. */
  readonly hash: string
  readonly account: string
  /** Goes into `x-tidemark-csrf` of every change. */
  readonly csrf: string
  /** Aborts when the session ends, however it does. */
  readonly ended: AbortSignal
}

interface Held extends Session {
  readonly began: number
  readonly abort: AbortController
  used: number
  written: number
}

/** Who is signed in. In memory, and in the database so that a restart signs nobody out. */
export class Sessions {
  readonly #database: Database
  readonly #clock: Clock
  readonly #random: Random
  readonly #held = new Map<string, Held>()

  constructor(database: Database, { clock, random }: { readonly clock: Clock; readonly random: Random }) {
    this.#database = database
    this.#clock = clock
    this.#random = random
    const rows = database.sqlite.prepare('SELECT hash, account, began, used FROM sessions').all()
    for (const row of rows as unknown as { hash: string; account: string; began: number; used: number }[]) {
      this.#hold({ ...row, written: row.used })
    }
    this.endExpired()
  }

  get count(): number {
    return this.#held.size
  }

  begin(account: string, address: string): { token: string; session: Session } {
    const mine = this.#of(account).sort((a, b) => a.used - b.used)
    for (const old of mine.slice(0, Math.max(0, mine.length + 1 - sessionsOfAccountMax))) this.end(old.hash)
    const token = Buffer.from(this.#random.bytes(tokenBytes)).toString('base64url')
    const now = this.#clock.now()
    const hash = hashOf(token)
    this.#database.sqlite
      .prepare('INSERT INTO sessions (hash, account, began, used, address) VALUES (?, ?, ?, ?, ?)')
      .run(hash, account, now, now, address)
    return { token, session: this.#hold({ hash, account, began: now, used: now, written: now }) }
  }

  find(token: string): Session | undefined {
    const held = this.#held.get(hashOf(token))
    if (held === undefined) return undefined
    if (!this.#isOver(held)) return held
    this.end(held.hash)
    return undefined
  }

  /** Somebody sits at it. */
  used({ hash }: Session): void {
    const held = this.#held.get(hash)
    if (held === undefined) return
    held.used = this.#clock.now()
    if (held.used - held.written < writtenEveryMs * 1000) return
    held.written = held.used
    this.#database.sqlite.prepare('UPDATE sessions SET used = ? WHERE hash = ?').run(held.used, hash)
  }

  end(hash: string): void {
    this.#database.sqlite.prepare('DELETE FROM sessions WHERE hash = ?').run(hash)
    const held = this.#held.get(hash)
    this.#held.delete(hash)
    held?.abort.abort(new DOMException('the session has ended', 'AbortError'))
  }

  endAll(account: string, but?: Session): void {
    for (const { hash } of this.#of(account)) if (hash !== but?.hash) this.end(hash)
  }

  endExpired(): void {
    for (const held of this.#held.values()) if (this.#isOver(held)) this.end(held.hash)
  }

  #of(account: string): Held[] {
    return [...this.#held.values()].filter((held) => held.account === account)
  }

  #isOver({ began, used }: Held): boolean {
    const now = this.#clock.now()
    return now - began > sessionMsMax * 1000 || now - used > idleMsMax * 1000
  }

  #hold(of: { hash: string; account: string; began: number; used: number; written: number }): Held {
    const abort = new AbortController()
    // Follows from the session without being kept, and tells nothing of the token.
    const csrf = createHash('sha256').update(`tidemark csrf ${of.hash}`).digest('base64url')
    const held = { ...of, csrf, abort, ended: abort.signal }
    this.#held.set(of.hash, held)
    return held
  }
}

const hashOf = (token: string): string => createHash('sha256').update(token, 'utf8').digest('hex')
