import { rmSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { systemCode, TidemarkError } from '../base/errors.ts'
import type { ChunkId } from '../model/change.ts'
import type { Moment } from '../model/moment.ts'
import type { Id } from '../model/source.ts'
import type { PackEntry } from '../format/pack.ts'
import type { StoreName } from '../store/store.ts'

/** Where a chunk stands. */
export interface ChunkPlace {
  readonly pack: number
  readonly frameAt: number
  readonly frameBytes: number
  /** In the decompressed block. */
  readonly at: number
  readonly bytes: number
}

/** What is recorded of a pack: everything before `scanned`, which of a sealed one is its whole length. */
export interface PackRecord {
  readonly number: number
  readonly file: Id
  readonly scanned: number
}

/** A file and how much of it is known to be durable. */
export type SyncedNote = readonly [name: StoreName, bytes: number]

/**
 * Who holds which chunk, and where it stands. Derived from the packs: what is recorded was durable before, so that
 * after a crash the catalogue may be behind the packs and never ahead of them; if it is lost it is built again.
 *
 * There is a row for each agent that has sent a chunk or proved to hold it, and an agent is only ever told of its own
 * rows: nobody learns what others hold. Chunks that have arrived and are not durable yet are known in memory.
 *
 * `epoch` counts collections, and it is known when each began: a row that was touched of late, or since the oldest open
 * appender came, may be about to be referred to and is not collected.
 *
 * It also notes how long growing files were known to be durable, which tells damage at their end from a torn tail.
 */
export class Catalogue implements Disposable {
  readonly #database: DatabaseSync
  readonly #statements: Statements
  /** Arrived, not durable: bytes by holder and id. */
  readonly #arrived = new Map<string, number>()
  readonly #touched = new Set<ChunkId>()
  readonly #path: string
  readonly #corruption = Promise.withResolvers<never>()
  #isCorrupt = false
  #epoch: number

  constructor(path: string, vault: Id) {
    this.#path = path
    this.#database = openDatabase(path, vault)
    this.#statements = prepare(this.#database, (error) => this.#notice(error))
    // Who does not ask is not to be ended by it.
    this.#corruption.promise.catch(() => undefined)
    this.#epoch = (this.#statements.epoch.get() as { epoch: number }).epoch
  }

  /** Rejects, with the reason, once the database is found to be corrupt; never resolves. The next opening builds it anew. */
  get corruption(): Promise<never> {
    return this.#corruption.promise
  }

  get isCorrupt(): boolean {
    return this.#isCorrupt
  }

  #notice(error: unknown): void {
    if (!corrupt.includes(sqliteCode(error) ?? 0)) return
    this.#isCorrupt = true
    this.#corruption.reject(error)
  }

  get epoch(): number {
    return this.#epoch
  }

  /** Length of the chunk if this holder has sent or proved it, as far as this vault has it. */
  bytesOf(holder: number, id: ChunkId): number | undefined {
    const arrived = this.#arrived.get(arrivalKey(holder, id))
    if (arrived !== undefined) return arrived
    const row = this.#statements.own.get(toBlob(id), holder) as { bytes: number; touched: number } | undefined
    if (row && row.touched < this.#epoch) this.#touch(id)
    return row?.bytes
  }

  #touch(id: ChunkId): void {
    this.#touched.add(id)
    if (this.#touched.size % touchedPerWrite === 0) this.flushTouched()
  }

  /** Whether anyone holds it. Never told to an agent. */
  isKnown(id: ChunkId): boolean {
    return this.#arrived.has(arrivalKey(anyone, id)) || this.#statements.any.get(toBlob(id)) !== undefined
  }

  place(id: ChunkId): ChunkPlace | undefined {
    return this.#statements.place.get(toBlob(id)) as ChunkPlace | undefined
  }

  /** The chunk is on its way to a pack. */
  arrive(holder: number, id: ChunkId, bytes: number): void {
    this.#arrived.set(arrivalKey(holder, id), bytes)
    this.#arrived.set(arrivalKey(anyone, id), bytes)
  }

  /** Records frames that are durable, and that everything of the pack before `scanned` is recorded with them. */
  record(pack: PackRecord, entries: readonly PackEntry[]): void {
    this.#transaction(() => {
      this.#writeTouched()
      for (const entry of entries) this.#recordEntry(pack.number, entry)
      this.#statements.putPack.run(pack.number, Buffer.from(pack.file, 'hex'), pack.scanned)
    })
  }

  #recordEntry(pack: number, entry: PackEntry): void {
    if (entry.kind === 'claim') {
      for (const id of entry.ids) {
        this.#statements.claim.run(entry.holder, this.#epoch, toBlob(id))
        this.#arrived.delete(arrivalKey(entry.holder, id))
        this.#arrived.delete(arrivalKey(anyone, id))
      }
      return
    }
    let at = 0
    for (const { id, bytes } of entry.chunks) {
      this.#statements.put.run(toBlob(id), entry.holder, pack, entry.frameAt, entry.frameBytes, at, bytes, this.#epoch)
      at += bytes
      this.#arrived.delete(arrivalKey(entry.holder, id))
      this.#arrived.delete(arrivalKey(anyone, id))
    }
  }

  packs(): PackRecord[] {
    const rows = this.#statements.packs.all() as { number: number; file: Uint8Array; scanned: number }[]
    return rows.map(({ number, file, scanned }) => ({
      number,
      file: Buffer.from(file).toString('hex') as Id,
      scanned,
    }))
  }

  /** The pack is no longer there, or is to be recorded anew. */
  forget(packs: readonly number[]): void {
    this.#transaction(() => {
      for (const pack of packs) {
        this.#statements.forgetChunks.run(pack)
        this.#statements.forgetPack.run(pack)
      }
    })
  }

  /** Where blocks stand in a pack. */
  framesIn(pack: number): Pick<ChunkPlace, 'frameAt' | 'frameBytes'>[] {
    return this.#statements.frames.all(pack) as Pick<ChunkPlace, 'frameAt' | 'frameBytes'>[]
  }

  /** What stands in that block is no longer there. */
  forgetFrame(pack: number, frameAt: number): void {
    this.#statements.forgetFrame.run(pack, frameAt)
  }

  noteSynced(notes: Iterable<SyncedNote>): void {
    this.#transaction(() => {
      for (const [name, bytes] of notes) this.#statements.putSynced.run(name, bytes)
    })
  }

  forgetSynced(name: StoreName): void {
    this.#transaction(() => this.#statements.forgetSynced.run(name))
  }

  /** Length that the file was once known to have, durably; 0 if nothing is noted. */
  synced(name: StoreName): number {
    return (this.#statements.synced.get(name) as { bytes: number } | undefined)?.bytes ?? 0
  }

  /** All notes of files in a folder. */
  syncedIn(folder: string): { name: StoreName; bytes: number }[] {
    return this.#statements.syncedIn.all(`${folder}/`, `${folder}0`) as { name: StoreName; bytes: number }[]
  }

  /** A collection begins: what is touched from now on is of a new epoch. */
  nextEpoch(now: Moment): void {
    this.#transaction(() => {
      this.#writeTouched()
      this.#statements.putEpoch.run(this.#epoch + 1)
      this.#statements.putBegan.run(this.#epoch + 1, now)
    })
    this.#epoch++
  }

  /** The epoch at a moment; of one before the earliest that is known, 0. Forgets what was before. */
  epochAt(when: Moment): number {
    const { epoch } = this.#statements.epochAt.get(when) as { epoch: number | null }
    if (epoch === null) return 0
    this.#statements.forgetBegan.run(epoch)
    return epoch
  }

  flushTouched(): void {
    if (this.#touched.size > 0) this.#transaction(() => this.#writeTouched())
  }

  #writeTouched(): void {
    for (const id of this.#touched) this.#statements.touch.run(this.#epoch, toBlob(id))
    this.#touched.clear()
  }

  /** Whether a chunk standing there was touched in `epoch` or later; undefined where it no longer stands there. */
  touchedThere(id: ChunkId, pack: number, frameAt: number, epoch: number): boolean | undefined {
    const row = this.#statements.there.get(toBlob(id), pack, frameAt) as { touched: number | null } | undefined
    if (row === undefined || row.touched === null) return undefined
    return row.touched >= epoch || this.#touched.has(id) || this.#arrived.has(arrivalKey(anyone, id))
  }

  /** The holders of a chunk. */
  holders(id: ChunkId): number[] {
    return (this.#statements.holders.all(toBlob(id)) as { holder: number }[]).map(({ holder }) => holder)
  }

  /** All rows of chunks standing in `from` move to where `to` has them. */
  move(from: number, to: PackRecord, entries: readonly PackEntry[]): void {
    this.#transaction(() => {
      for (const entry of entries) {
        if (entry.kind === 'claim') continue
        let at = 0
        for (const { id, bytes } of entry.chunks) {
          this.#statements.move.run(to.number, entry.frameAt, entry.frameBytes, at, toBlob(id), from)
          at += bytes
        }
      }
      this.#statements.putPack.run(to.number, Buffer.from(to.file, 'hex'), to.scanned)
    })
  }

  /** Forgets a pack and those chunks that still stand in it. */
  drop(pack: number, ids: Iterable<ChunkId>): void {
    this.#transaction(() => {
      for (const id of ids) this.#statements.drop.run(toBlob(id), pack)
      this.#statements.forgetPack.run(pack)
    })
  }

  #transaction(work: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      work()
      this.#database.exec('COMMIT')
    } catch (error) {
      this.#notice(error)
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      if (sqliteCode(error) === full) {
        throw new TidemarkError('vault-full', { message: 'no room for the catalogue of chunks', cause: error })
      }
      throw error
    }
  }

  [Symbol.dispose](): void {
    try {
      if (!this.#isCorrupt) this.flushTouched()
    } finally {
      this.#database.close()
      if (this.#isCorrupt) removeDatabase(this.#path)
    }
  }
}

/** Reads places only: for threads beside the one that has the catalogue. */
export class CatalogueReader implements Disposable {
  readonly #database: DatabaseSync
  readonly #place: StatementSync

  constructor(path: string) {
    this.#database = new DatabaseSync(path, { readOnly: true, timeout: busyMsMax })
    this.#place = this.#database.prepare(placeQuery)
  }

  place(id: ChunkId): ChunkPlace | undefined {
    return this.#place.get(toBlob(id)) as ChunkPlace | undefined
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }
}

/** No agent has this number. */
const anyone = 0
const version = 2
/** Touched chunks are written down at least this often. */
const touchedPerWrite = 10_000
const busyMsMax = 10_000

const arrivalKey = (holder: number, id: ChunkId): string => id + String.fromCharCode(holder >>> 16, holder & 0xffff)
const toBlob = (id: ChunkId): Buffer => Buffer.from(id, 'latin1')

const schema = `
  CREATE TABLE chunk (
    id BLOB NOT NULL, holder INTEGER NOT NULL,
    pack INTEGER NOT NULL, frame_at INTEGER NOT NULL, frame_bytes INTEGER NOT NULL,
    at INTEGER NOT NULL, bytes INTEGER NOT NULL, touched INTEGER NOT NULL,
    PRIMARY KEY (id, holder)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE pack (number INTEGER PRIMARY KEY, file BLOB NOT NULL, scanned INTEGER NOT NULL) STRICT;
  CREATE TABLE synced (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE epoch (number INTEGER PRIMARY KEY, began INTEGER NOT NULL) STRICT;
  CREATE TABLE catalogue (vault TEXT NOT NULL, epoch INTEGER NOT NULL) STRICT;
`
const placeQuery =
  'SELECT pack, frame_at AS frameAt, frame_bytes AS frameBytes, at, bytes FROM chunk WHERE id = ? LIMIT 1'

type Statements = ReturnType<typeof prepare>

/** `failing` is told of each failure. */
function prepare(database: DatabaseSync, failing: (error: unknown) => void) {
  const statement = (query: string): Statement => tellingFailures(database.prepare(query), failing)
  return {
    epoch: statement('SELECT epoch FROM catalogue'),
    putEpoch: statement('UPDATE catalogue SET epoch = ?'),
    putBegan: statement('INSERT INTO epoch (number, began) VALUES (?, ?)'),
    epochAt: statement('SELECT max(number) AS epoch FROM epoch WHERE began <= ?'),
    forgetBegan: statement('DELETE FROM epoch WHERE number < ?'),
    own: statement('SELECT bytes, touched FROM chunk WHERE id = ? AND holder = ?'),
    any: statement('SELECT 1 FROM chunk WHERE id = ? LIMIT 1'),
    place: statement(placeQuery),
    put: statement(
      `INSERT INTO chunk (id, holder, pack, frame_at, frame_bytes, at, bytes, touched) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET pack = excluded.pack, frame_at = excluded.frame_at, frame_bytes = excluded.frame_bytes,
       at = excluded.at, bytes = excluded.bytes, touched = excluded.touched`,
    ),
    claim: statement(
      `INSERT INTO chunk (id, holder, pack, frame_at, frame_bytes, at, bytes, touched)
     SELECT id, ?, pack, frame_at, frame_bytes, at, bytes, ? FROM chunk WHERE id = ? LIMIT 1 ON CONFLICT DO NOTHING`,
    ),
    touch: statement('UPDATE chunk SET touched = ? WHERE id = ?'),
    there: statement('SELECT max(touched) AS touched FROM chunk WHERE id = ? AND pack = ? AND frame_at = ?'),
    holders: statement('SELECT holder FROM chunk WHERE id = ? ORDER BY holder'),
    move: statement('UPDATE chunk SET pack = ?, frame_at = ?, frame_bytes = ?, at = ? WHERE id = ? AND pack = ?'),
    drop: statement('DELETE FROM chunk WHERE id = ? AND pack = ?'),
    packs: statement('SELECT number, file, scanned FROM pack ORDER BY number'),
    putPack: statement(
      'INSERT INTO pack (number, file, scanned) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET file = excluded.file, scanned = excluded.scanned',
    ),
    forgetPack: statement('DELETE FROM pack WHERE number = ?'),
    frames: statement('SELECT DISTINCT frame_at AS frameAt, frame_bytes AS frameBytes FROM chunk WHERE pack = ?'),
    forgetFrame: statement('DELETE FROM chunk WHERE pack = ? AND frame_at = ?'),
    forgetChunks: statement('DELETE FROM chunk WHERE pack = ?'),
    putSynced: statement(
      'INSERT INTO synced (name, bytes) VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = excluded.bytes',
    ),
    forgetSynced: statement('DELETE FROM synced WHERE name = ?'),
    synced: statement('SELECT bytes FROM synced WHERE name = ?'),
    syncedIn: statement('SELECT name, bytes FROM synced WHERE name > ? AND name < ?'),
  }
}

interface Statement {
  get(...told: SQLInputValue[]): unknown
  all(...told: SQLInputValue[]): unknown[]
  run(...told: SQLInputValue[]): void
}

function tellingFailures(statement: StatementSync, failing: (error: unknown) => void): Statement {
  const telling = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      failing(error)
      throw error
    }
  }
  return {
    get: (...told) => telling(() => statement.get(...told)),
    all: (...told) => telling(() => statement.all(...told)),
    run: (...told) => void telling(() => statement.run(...told)),
  }
}

/** Opens the database if it is of this vault and version; anything else is made anew. */
function openDatabase(path: string, vault: Id): DatabaseSync {
  const found = tryOpen(path)
  if (found && isOurs(found, vault)) return found
  found?.close()
  removeDatabase(path)
  const database = opened(path)
  database.exec(schema)
  database.exec(`PRAGMA user_version = ${version}`)
  database.prepare('INSERT INTO catalogue (vault, epoch) VALUES (?, 1)').run(vault)
  return database
}

function removeDatabase(path: string): void {
  if (path !== ':memory:') for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
}

function opened(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: busyMsMax })
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536')
  return database
}

function tryOpen(path: string): DatabaseSync | undefined {
  try {
    return opened(path)
  } catch (error) {
    if (isUnreadable(error)) return undefined
    throw error
  }
}

function isOurs(database: DatabaseSync, vault: Id): boolean {
  try {
    const { user_version: found } = database.prepare('PRAGMA user_version').get() as { user_version: number }
    if (found !== version) return false
    const row = database.prepare('SELECT vault FROM catalogue').get() as { vault: string } | undefined
    // Fails where a table is missing.
    prepare(database, () => undefined)
    return row?.vault === vault
  } catch (error) {
    if (isUnreadable(error)) return false
    throw error
  }
}

/** SQLite's primary code; an extended one holds it in its lowest byte. */
const sqliteCode = (error: unknown): number | undefined =>
  systemCode(error) === 'ERR_SQLITE_ERROR' ? ((error as { errcode?: number }).errcode ?? 0) & 0xff : undefined

const full = 13 // SQLITE_FULL
/** SQLITE_CORRUPT, SQLITE_NOTADB. */
const corrupt = [11, 26]
/** SQLITE_ERROR: a table is missing. */
const unreadable = [1, ...corrupt]

/** Not a database, or one that is not of this form. */
const isUnreadable = (error: unknown): boolean => unreadable.includes(sqliteCode(error) ?? 0)
