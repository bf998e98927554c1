import { existsSync, renameSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { z } from 'zod'
import { logLinesMax, taskRecord } from '../../api/tasks.ts'
import { messageOf, systemCode, TidemarkError } from '../../base/errors.ts'
import { taskWork, type TaskLine } from '../../wire/orders.ts'

/** A task as it is kept: what is told of it but for its log, and how far it is. */
const keptTask = z.object({
  record: taskRecord.omit({ log: true }),
  /** Times it was begun, with those of being resumed. */
  run: z.int().min(0),
  /** Lines that this run has told. */
  logged: z.int().min(0),
  /** Ids of who does it, and of the sources that it reads. */
  agent: z.string().optional(),
  sources: z.array(z.string()),
  /** What an agent does; absent where the vault does it. */
  work: taskWork.optional(),
  isCancelled: z.boolean(),
})
export type KeptTask = z.infer<typeof keptTask>

const version = 1
const schema = `
CREATE TABLE task (id TEXT PRIMARY KEY, created INTEGER NOT NULL, kept TEXT NOT NULL) STRICT;
CREATE TABLE line (task TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, line TEXT NOT NULL, PRIMARY KEY (task, number)) STRICT, WITHOUT ROWID;
`
const busyMsMax = 5_000

/**
 * The file `tasks.sqlite`: what was asked for, by whom, and what became of it. A record, not derived; nothing that is
 * promised depends on it, so one that cannot be read is put aside and the vault goes on without it.
 */
export class KeptTasks implements Disposable {
  readonly #database: DatabaseSync
  readonly #put: StatementSync
  readonly #addLine: StatementSync
  readonly #lastLine: StatementSync
  readonly #dropLines: StatementSync
  readonly #lines: StatementSync

  private constructor(database: DatabaseSync) {
    this.#database = database
    this.#put = database.prepare(
      'INSERT INTO task (id, created, kept) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET kept = excluded.kept',
    )
    this.#addLine = database.prepare('INSERT INTO line (task, number, at, line) VALUES (?, ?, ?, ?)')
    this.#lastLine = database.prepare('SELECT max(number) AS number FROM line WHERE task = ?')
    this.#dropLines = database.prepare('DELETE FROM line WHERE task = ? AND number <= ?')
    this.#lines = database.prepare('SELECT at, line FROM line WHERE task = ? ORDER BY number')
  }

  static open(path: string, tell: (line: string) => void): KeptTasks {
    try {
      return new KeptTasks(openDatabase(path))
    } catch (error) {
      if (systemCode(error) !== 'ERR_SQLITE_ERROR' || !existsSync(path)) throw error
      const aside = `${path}.unreadable`
      for (const suffix of ['-wal', '-shm', ''])
        if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix)
      tell(`DAMAGE: the record of tasks cannot be read and is put aside as ${aside}: ${messageOf(error)}`)
      return new KeptTasks(openDatabase(path))
    }
  }

  /** In the order of their beginning. */
  all(): KeptTask[] {
    const rows = this.#database.prepare('SELECT kept FROM task ORDER BY created, id').all() as { kept: string }[]
    return rows.map(({ kept }) => keptTask.parse(JSON.parse(kept)))
  }

  /** Durable when it returns; `vault-full` without room. */
  put(task: KeptTask, created: number): void {
    this.#database.exec('PRAGMA synchronous = FULL')
    try {
      telling(() => this.#put.run(task.record.id, created, JSON.stringify(task)))
    } finally {
      this.#database.exec('PRAGMA synchronous = NORMAL')
    }
  }

  /** Of the lines the newest are kept. They survive the end of this process, and a power cut once the task is put again. */
  append(task: string, lines: readonly TaskLine[]): void {
    let { number } = this.#lastLine.get(task) as { number: number | null }
    for (const { at, line } of lines) telling(() => this.#addLine.run(task, (number = (number ?? -1) + 1), at, line))
    telling(() => this.#dropLines.run(task, (number ?? 0) - logLinesMax))
  }

  lines(task: string): TaskLine[] {
    return this.#lines.all(task) as unknown as TaskLine[]
  }

  remove(task: string): void {
    this.#database.prepare('DELETE FROM line WHERE task = ?').run(task)
    this.#database.prepare('DELETE FROM task WHERE id = ?').run(task)
  }

  [Symbol.dispose](): void {
    if (this.#database.isOpen) this.#database.close()
  }
}

/** A file system without room, or one that fails, is not this program's fault. */
function telling(write: () => unknown): void {
  try {
    write()
  } catch (error) {
    if (systemCode(error) !== 'ERR_SQLITE_ERROR') throw error
    throw new TidemarkError('vault-full', {
      message: `the record of tasks cannot be written: ${messageOf(error)}`,
      hint: 'make room on the file system of the vault, then ask again',
      cause: error,
    })
  }
}

function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: busyMsMax })
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    const { user_version: found } = database.prepare('PRAGMA user_version').get() as { user_version: number }
    if (found === 0) database.exec(`BEGIN; ${schema} PRAGMA user_version = ${version}; COMMIT`)
    // Fails where a table is missing.
    database.prepare('SELECT count(*) FROM task, line').get()
    return database
  } catch (error) {
    database.close()
    throw error
  }
}
