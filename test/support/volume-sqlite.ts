import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { Found, TransactionRecord } from './volume-record.ts'

/** Both ways of SQLite to be safe from a power cut. Without `EXTRA` the removal of a rollback journal may come undone. */
export const sqliteDatabases = [
  { user: 'sqlite with a write-ahead log', file: 'ahead.db', journal: 'wal', synchronous: 'FULL' },
  { user: 'sqlite with a rollback journal', file: 'back.db', journal: 'delete', synchronous: 'EXTRA' },
] as const

/** Rows of one transaction. */
export const sqliteParts = 3

export interface ToSqlite {
  readonly folder: string
}

export type FromSqlite =
  | { readonly kind: 'ready' }
  | { readonly kind: 'begun' | 'told'; readonly user: string; readonly number: number; readonly at: number }
  | { readonly kind: 'found'; readonly found: readonly Found[] }

type Child = ChildProcessByStdio<Writable, Readable, null>

/** Writes two databases in a folder, and notes it. */
export class SqliteLoad implements AsyncDisposable {
  readonly #child: Child
  readonly #closed: Promise<unknown>

  private constructor(child: Child, closed: Promise<unknown>) {
    this.#child = child
    this.#closed = closed
  }

  static async begin(folder: string, record: TransactionRecord): Promise<SqliteLoad> {
    const child = program('load', folder)
    const closed = once(child, 'close')
    const ready = Promise.withResolvers<void>()
    void closed.then(([status]) => ready.reject(new Error(`the load on SQLite ended with ${status}`)))
    ready.promise.catch(() => undefined)
    createInterface({ input: child.stdout }).on('line', (line) => {
      const told = JSON.parse(line) as FromSqlite
      if (told.kind === 'ready') ready.resolve()
      else if (told.kind === 'begun') record.begun(told.user, told.number, told.at)
      else if (told.kind === 'told') record.told(told.user, told.number, told.at)
    })
    await ready.promise
    return new SqliteLoad(child, closed)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end()
    await this.#closed
  }
}

/** Judges databases, one folder after the other. */
export class SqliteJudge implements AsyncDisposable {
  readonly #child: Child
  readonly #closed: Promise<unknown>
  readonly #lines: AsyncIterator<string>

  private constructor(child: Child) {
    this.#child = child
    this.#closed = once(child, 'close')
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  static async begin(): Promise<SqliteJudge> {
    const judge = new SqliteJudge(program('check', ''))
    await judge.#next()
    return judge
  }

  async found(folder: string): Promise<readonly Found[]> {
    const message: ToSqlite = { folder }
    this.#child.stdin.write(`${JSON.stringify(message)}\n`)
    const told = await this.#next()
    return told.kind === 'found' ? told.found : []
  }

  async #next(): Promise<FromSqlite> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error('the judge of SQLite has ended')
    return JSON.parse(value) as FromSqlite
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end()
    await this.#closed
  }
}

const program = (task: 'load' | 'check', folder: string): Child =>
  spawn(process.execPath, [join(import.meta.dirname, 'volume-sqlite-program.ts'), task, folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
