import { z } from 'zod'
import { type ApiClient, jsonLines } from '../api/client.ts'
import type { VaultEntry } from '../api/console.ts'
import { consoleEnrolAnswer } from '../api/consoles.ts'
import { heartbeatMs, type VaultEvent, vaultEvent } from '../api/events.ts'
import type { VaultStatus } from '../api/schemas.ts'
import { Backoff } from '../base/backoff.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Tell } from '../base/tell.ts'
import { Wake } from '../base/wake.ts'
import { isoMoment, type Moment } from '../model/moment.ts'
import { leftMs } from '../wire/authority.ts'
import { apiClient, type HttpDoor, vaultDoor } from '../wire/http-client.ts'
import { agentCertificateMs, createCsr, type Credential, expiresAt } from '../wire/pki.ts'
import type { VaultRecord, VaultTable } from './vault-table.ts'

/** A vault that has said nothing for so long is gone, whatever the system thinks of the connection. */
const silenceMsMax = 3 * heartbeatMs
const renewalEveryMs = 3_600_000

export interface VaultParts {
  readonly table: VaultTable
  readonly clock: Clock
  readonly random: Random
  readonly tell: Tell
}

/** One vault, as this console knows it now: what it told last, and whether it still tells. */
export class KnownVault implements Disposable {
  readonly #parts: VaultParts
  readonly #hurry = new Wake()
  #record: VaultRecord
  #credential: Credential
  #door: HttpDoor
  #status: VaultStatus | undefined
  #isConnected = false
  #since: Moment | undefined
  #error: string | undefined

  constructor(record: VaultRecord, credential: Credential, parts: VaultParts) {
    this.#record = record
    this.#credential = credential
    this.#parts = parts
    this.#door = vaultDoor({ ...record, credential })
  }

  get record(): VaultRecord {
    return this.#record
  }

  get entry(): VaultEntry {
    const { id, name, host, port, site } = this.#record
    return {
      id,
      name,
      url: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
      ...(site === undefined ? {} : { site }),
      connected: this.#isConnected,
      since: this.#since === undefined ? null : isoMoment(this.#since),
      ...(this.#error === undefined ? {} : { error: this.#error }),
    }
  }

  /** What it told of itself since it was connected; undefined while it is away. */
  get told(): VaultStatus | undefined {
    return this.#isConnected ? this.#status : undefined
  }

  /** What it told last, although it may be away. */
  get lastTold(): VaultStatus | undefined {
    return this.#status
  }

  get certificateExpires(): Moment {
    return expiresAt(this.#credential.certificate)
  }

  /** For requests with this console's certificate; ask anew for each. */
  get door(): HttpDoor {
    return this.#door
  }

  get client(): ApiClient {
    return apiClient(this.#door)
  }

  placedAt(site: string | undefined): void {
    const { site: _before, ...rest } = this.#record
    this.#record = site === undefined ? rest : { ...rest, site }
  }

  /** Tries to reach it now, instead of after the pause. */
  hurry(): void {
    this.#hurry.wake()
  }

  /** Reads its events until `signal` aborts, through any number of connections. */
  async run(told: (event: VaultEvent) => void, changed: () => void, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.#parts.clock, this.#parts.random, this.#hurry)
    while (!signal.aborted) {
      try {
        await this.#renewInTime()
        await this.#read(told, changed, backoff, signal)
      } catch (error) {
        if (signal.aborted) return
        this.#away(error, changed)
      }
      await backoff.wait(signal).catch(() => undefined)
    }
  }

  async #read(
    told: (event: VaultEvent) => void,
    changed: () => void,
    backoff: Backoff,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#parts
    const stop = new AbortController()
    let heardMs = clock.monotonicMs()
    const ended = AbortSignal.any([signal, stop.signal])
    const watching = this.#watch(() => heardMs, stop, ended)
    try {
      const lines = await this.client.stream('GET', '/v1/events', undefined, ended)
      for await (const line of jsonLines(lines, z.unknown())) {
        heardMs = clock.monotonicMs()
        const event = vaultEvent.safeParse(line)
        if (!event.success) {
          if (isNewKind(line)) continue
          throw foreign(event.error)
        }
        this.#apply(event.data)
        if (!this.#isConnected) {
          backoff.succeeded()
          this.#arrived(changed)
        }
        told(event.data)
      }
      throw new TidemarkError('unreachable', { message: 'the vault ended the connection: it may be restarting' })
    } finally {
      stop.abort()
      await watching
    }
  }

  /** Ends a connection that is silent, and renews the certificate of one that lasts for weeks. */
  async #watch(heardMs: () => number, stop: AbortController, ended: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    let renewedMs = clock.monotonicMs()
    try {
      for (;;) {
        await clock.sleep(heartbeatMs, ended)
        const now = clock.monotonicMs()
        if (now - heardMs() > silenceMsMax)
          stop.abort(
            new TidemarkError('unreachable', { message: `the vault has been silent for ${silenceMsMax / 1000} s` }),
          )
        if (now - renewedMs < renewalEveryMs) continue
        renewedMs = now
        await this.#renewInTime()
      }
    } catch (error) {
      if (!ended.aborted) stop.abort(error)
    }
  }

  #apply(event: VaultEvent): void {
    if (event.kind === 'vault') {
      this.#status = event.vault
      if (event.vault.name === this.#record.name) return
      this.#record = { ...this.#record, name: event.vault.name }
      this.#parts.table.rename(this.#record.id, event.vault.name)
      return
    }
    const before = this.#status
    if (before === undefined) return
    if (event.kind === 'source') {
      const at = before.sources.findIndex(({ id }) => id === event.source.id)
      const sources = at === -1 ? [...before.sources, event.source] : before.sources.with(at, event.source)
      this.#status = { ...before, sources }
    } else if (event.kind === 'source-gone') {
      this.#status = { ...before, sources: before.sources.filter(({ id }) => id !== event.id) }
    } else if (event.kind === 'space') {
      const { now, stalled, freeBytes, storedBytes } = event
      this.#status = { ...before, now, stalled, freeBytes, storedBytes }
    }
  }

  #arrived(changed: () => void): void {
    this.#isConnected = true
    this.#error = undefined
    this.#since = this.#parts.clock.now() as Moment
    this.#parts.tell(`vault ${this.#record.name} is connected`)
    changed()
  }

  #away(error: unknown, changed: () => void): void {
    const reason = messageOf(error)
    const isNews = this.#isConnected || this.#error !== reason
    if (this.#isConnected || this.#since === undefined) this.#since = this.#parts.clock.now() as Moment
    this.#isConnected = false
    this.#error = reason
    if (!isNews) return
    this.#parts.tell(`vault ${this.#record.name} is away: ${reason}`, { error })
    changed()
  }

  /** After two thirds of its life: there is a third for a vault that cannot be reached. */
  async #renewInTime(): Promise<void> {
    if (leftMs(this.#credential, this.#parts.clock) >= agentCertificateMs / 3) return
    const { csr, key } = await createCsr()
    const { certificate } = await this.client.json('POST', '/v1/consoles/renew', consoleEnrolAnswer, { csr })
    const credential = { certificate, key }
    await this.#parts.table.keepCredential(this.#record.id, credential)
    this.#credential = credential
    // The one before goes on with what it carries, and is closed with its last connection.
    this.#door = vaultDoor({ ...this.#record, credential })
    this.#parts.tell(`vault ${this.#record.name}: the certificate of this console was renewed`)
  }

  [Symbol.dispose](): void {
    this.#door[Symbol.dispose]()
  }
}

/** Of a newer release: what this one does not know, it can do without. */
const isNewKind = (line: unknown): boolean => {
  const kinds = vaultEvent.options.map(({ shape }) => shape.kind.value as string)
  const kind = typeof line === 'object' && line !== null && 'kind' in line ? line.kind : undefined
  return typeof kind === 'string' && !kinds.includes(kind)
}

const foreign = (error: z.ZodError): TidemarkError => {
  const [issue] = error.issues
  return new TidemarkError('protocol-violation', {
    message: `an event of the vault is not of the documented form: ${issue?.path.join('.')}: ${issue?.message}`,
    hint: 'check that the vault and the console are of releases that fit',
  })
}
