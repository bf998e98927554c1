import { existsSync, readFileSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { isSystemError } from '../../base/errors.ts'
import { systemRandom } from '../../base/random.ts'
import type { Sequence } from '../../model/sequence.ts'
import { CatalogBatches } from './catalog-batches.ts'
import { bytesOf, catalogSchema, catalogVersion } from './catalog-schema.ts'
import { CatalogTree } from './catalog-tree.ts'
import { FilesystemNumbers } from './filesystem-numbers.ts'

/**
 * What the capture believes the vault's tree holds, in a file. The tree changes together with the batches: `begin`, then
 * the changes of one batch, then `commit`, and only then is the batch handed out, so after a crash the catalog is never
 * behind what was sent. It is not synced to disk: after a power failure it is not trusted.
 */
export class Catalog implements Disposable {
  readonly tree: CatalogTree
  readonly batches: CatalogBatches
  readonly filesystemNumbers: FilesystemNumbers
  /** Of the fingerprints in signatures. */
  readonly fingerprintSeed: bigint
  readonly #database: DatabaseSync

  /**
   * The catalog in this file as it stood after the batch that ended at `at` with this cursor; undefined where there is
   * none, where it is not known to be whole, or where it cannot go back to that batch.
   */
  static resume(path: string, at: Sequence, cursor: Uint8Array): Catalog | undefined {
    return Catalog.#openIf(path, (catalog) => {
      if (!catalog.#isWhole() || !catalog.batches.goBack(at, Buffer.from(cursor))) return false
      catalog.#database.prepare('UPDATE state SET boot = ?, closed = 0').run(bootId())
      return true
    })
  }

  /** The catalog in this file as it is, whatever it stands at; undefined where it is not known to be whole. */
  static readable(path: string): Catalog | undefined {
    return Catalog.#openIf(path, (catalog) => catalog.#isWhole())
  }

  static #openIf(path: string, isWanted: (catalog: Catalog) => boolean): Catalog | undefined {
    if (!existsSync(path)) return undefined
    let database: DatabaseSync | undefined
    try {
      database = new DatabaseSync(path)
      const catalog = new Catalog(database)
      if (isWanted(catalog)) return catalog
    } catch (error) {
      // A damaged file is as good as none: what it held is told by the manifest.
      if (!(error instanceof UnknownCatalog) && !isSystemError(error, 'ERR_SQLITE_ERROR')) throw error
    }
    database?.close()
    return undefined
  }

  /** An empty catalog; what was in the file is gone. It numbers and fingerprints as `like` does. */
  static create(path: string, { at, cursor }: { at: Sequence; cursor: Uint8Array }, like?: Catalog): Catalog {
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
    const database = new DatabaseSync(path)
    database.exec('PRAGMA page_size = 8192')
    database.exec('PRAGMA journal_mode = WAL')
    database.exec(catalogSchema)
    const seed = Buffer.alloc(8)
    seed.writeBigUInt64LE(like?.fingerprintSeed ?? Buffer.from(systemRandom.bytes(8)).readBigUInt64LE())
    database
      .prepare(
        'INSERT INTO state (version, sequence, cursor, first, nodes, boot, closed, drained, seed) VALUES (?, ?, ?, ?, 0, ?, 0, 0, ?)',
      )
      .run(catalogVersion, at, cursor, at, bootId(), seed)
    const catalog = new Catalog(database)
    if (like !== undefined) catalog.filesystemNumbers.takeOver(like.filesystemNumbers)
    return catalog
  }

  private constructor(database: DatabaseSync) {
    this.#database = database
    database.exec('PRAGMA journal_mode = WAL')
    database.exec('PRAGMA synchronous = OFF')
    database.exec('PRAGMA cache_size = -32768')
    database.exec('PRAGMA wal_autocheckpoint = 4096')
    const state = database.prepare('SELECT version, seed FROM state').get()
    if (state?.['version'] !== catalogVersion) throw new UnknownCatalog()
    this.fingerprintSeed = bytesOf(state['seed']).readBigUInt64LE()
    this.tree = new CatalogTree(database)
    this.batches = new CatalogBatches(database)
    this.filesystemNumbers = new FilesystemNumbers(database)
  }

  /** Written in this boot, or closed in order before: after a power failure nothing says which writes reached the disk. */
  #isWhole(): boolean {
    const state = this.#database.prepare('SELECT boot, closed FROM state').get()
    return state !== undefined && (state['boot'] === bootId() || state['closed'] === 1)
  }

  /** What was written is made to survive a power failure, so that the next start may trust it. */
  [Symbol.dispose](): void {
    this.batches.rollBack()
    this.#database.exec('PRAGMA synchronous = FULL')
    this.#database.exec('UPDATE state SET closed = 1')
    this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    this.#database.close()
  }
}

class UnknownCatalog extends Error {
  override readonly name = 'UnknownCatalog'
}

/** Changes with every boot: what was not synced is whole as long as it is the same. */
const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
