import type { VaultEntry } from '../api/console.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Id } from '../model/source.ts'
import { publicKeyFingerprint } from '../wire/pki.ts'
import { enrolAtVault, type EnrolRequest } from './enrol.ts'
import { KnownVault, type VaultParts } from './known-vault.ts'
import type { Live } from './live.ts'
import type { VaultRecord, VaultTable } from './vault-table.ts'

interface Reading {
  readonly vault: KnownVault
  readonly stop: AbortController
  readonly ended: Promise<void>
}

/** All the vaults of this console: each is read on a connection of its own, and what they tell goes to `live`. */
export class Federation implements AsyncDisposable {
  readonly #table: VaultTable
  readonly #live: Live
  readonly #parts: VaultParts
  readonly #readings = new Map<Id, Reading>()

  private constructor(live: Live, parts: VaultParts) {
    this.#table = parts.table
    this.#live = live
    this.#parts = parts
  }

  static async open(live: Live, parts: VaultParts): Promise<Federation> {
    const federation = new Federation(live, parts)
    for (const record of parts.table.list()) {
      federation.#begin(new KnownVault(record, await parts.table.credential(record.id), parts))
    }
    return federation
  }

  get vaults(): KnownVault[] {
    return [...this.#readings.values()].map(({ vault }) => vault)
  }

  entries(): VaultEntry[] {
    return this.vaults.map(({ entry }) => entry)
  }

  find(nameOrId: string): KnownVault | undefined {
    return this.#readings.get(nameOrId as Id)?.vault ?? this.vaults.find(({ record }) => record.name === nameOrId)
  }

  demand(nameOrId: string): KnownVault {
    const found = this.find(nameOrId)
    if (found !== undefined) return found
    throw new TidemarkError('not-found', {
      message: `this console has no vault "${nameOrId}"`,
      hint: '"tidemark console vaults" lists them',
    })
  }

  /** Lets this console in at a vault, or in again with another certificate or at another address. */
  async add(request: EnrolRequest & { readonly site?: string | undefined }, signal: AbortSignal): Promise<VaultEntry> {
    const { record, credential } = await enrolAtVault(request, this.#parts.random, signal)
    const before = this.#readings.get(record.id)
    if (before !== undefined) demandSameAuthority(before.vault.record, record)
    const site = request.site ?? before?.vault.record.site
    const wanted = { ...record, ...(site === undefined ? {} : { site }) }
    await this.#table.keepCredential(record.id, credential)
    this.#table.put(wanted, this.#parts.clock.now())
    if (before !== undefined) await this.#end(before)
    const vault = new KnownVault(wanted, credential, this.#parts)
    this.#begin(vault)
    this.#live.tell({ kind: 'connection', entry: vault.entry })
    return vault.entry
  }

  async remove(nameOrId: string): Promise<void> {
    const { id } = this.demand(nameOrId).record
    const reading = this.#readings.get(id)
    this.#readings.delete(id)
    await this.#table.remove(id)
    if (reading !== undefined) await this.#end(reading)
    this.#live.tell({ kind: 'vault-removed', vault: id })
  }

  /** Somebody said where it stands. */
  placed(id: Id, site: string | undefined): void {
    const vault = this.#readings.get(id)?.vault
    if (vault === undefined || vault.record.site === site) return
    vault.placedAt(site)
    this.#live.tell({ kind: 'connection', entry: vault.entry })
  }

  #begin(vault: KnownVault): void {
    const { id } = vault.record
    const stop = new AbortController()
    const ended = vault.run(
      (event) => this.#live.tell({ kind: 'vault', vault: id, event }),
      () => this.#live.tell({ kind: 'connection', entry: vault.entry }),
      stop.signal,
    )
    this.#readings.set(id, { vault, stop, ended })
  }

  async #end({ vault, stop, ended }: Reading): Promise<void> {
    stop.abort(new DOMException('the console reads this vault no more', 'AbortError'))
    await ended
    vault[Symbol.dispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#readings.values()].map((reading) => this.#end(reading)))
  }
}

/** Or any server could say that it is a vault that this console knows, and be told and believed in its place. */
function demandSameAuthority(before: VaultRecord, { host, port, authority }: VaultRecord): void {
  if (publicKeyFingerprint(before.authority).equals(publicKeyFingerprint(authority))) return
  throw new TidemarkError('tls-refused', {
    message: `what answers at ${host}:${port} says it is the vault "${before.name}", but its authority is another`,
    hint: 'if the vault was given a new authority, remove it from this console first, and add it again',
  })
}
