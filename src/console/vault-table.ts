import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { TidemarkError } from '../base/errors.ts'
import type { Id } from '../model/source.ts'
import { readCredential, writeCredential } from '../wire/authority.ts'
import type { Credential } from '../wire/pki.ts'
import type { Database } from './database.ts'
import { vaultCredentialsFolder } from './place.ts'

/** A vault that this console was let in at. */
export interface VaultRecord {
  readonly id: Id
  readonly name: string
  readonly host: string
  readonly port: number
  /** Certificate of its authority, PEM. */
  readonly authority: string
  readonly site?: string | undefined
}

/** Of one console: each is a connection, and its state in memory. */
const vaultsMax = 64

/** Which vaults there are: addresses in the database, certificates and keys in files of the directory. */
export class VaultTable {
  readonly #database: Database
  readonly #folder: string

  constructor(database: Database, directory: string) {
    this.#database = database
    this.#folder = vaultCredentialsFolder(directory)
  }

  list(): VaultRecord[] {
    const rows = this.#database.sqlite
      .prepare('SELECT id, name, host, port, authority, site FROM vaults ORDER BY added, id')
      .all() as unknown as (Omit<VaultRecord, 'site'> & { site: string | null })[]
    return rows.map(({ site, ...row }) => ({ ...row, ...(site === null ? {} : { site }) }))
  }

  async credential(id: Id): Promise<Credential> {
    const found = await readCredential(this.#file(id))
    if (found !== undefined) return found
    throw new TidemarkError('not-found', {
      message: `${this.#file(id)} is missing: with it the vault knew this console`,
      hint: 'bring it back from a copy, or add the vault again with a new token',
    })
  }

  async keepCredential(id: Id, credential: Credential): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    await writeCredential(this.#file(id), credential)
  }

  /** In place of what was known of that vault. */
  put({ id, name, host, port, authority, site }: VaultRecord, now: number): void {
    const { sqlite } = this.#database
    const others = this.list().filter((one) => one.id !== id)
    if (others.length >= vaultsMax) {
      throw new TidemarkError('not-allowed', {
        message: `a console has ${vaultsMax} vaults at most`,
        hint: 'remove one that is not needed any more, or set up another console',
      })
    }
    sqlite
      .prepare(
        `INSERT INTO vaults (id, name, host, port, authority, site, added) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, host = excluded.host, port = excluded.port,
           authority = excluded.authority, site = coalesce(excluded.site, site)`,
      )
      .run(id, name, host, port, authority, site ?? null, now)
  }

  rename(id: Id, name: string): void {
    this.#database.sqlite.prepare('UPDATE vaults SET name = ? WHERE id = ?').run(name, id)
  }

  async remove(id: Id): Promise<void> {
    this.#database.sqlite.prepare('DELETE FROM vaults WHERE id = ?').run(id)
    await rm(this.#file(id), { force: true })
  }

  #file(id: Id): string {
    return join(this.#folder, `${id}.pem`)
  }
}
