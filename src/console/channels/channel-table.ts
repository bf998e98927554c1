import { z } from 'zod'
import type { Channel, ChannelRequest } from '../../api/console.ts'
import { channelRequest } from '../../api/console.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import type { Database } from '../database.ts'
import type { Sealing } from '../sealing.ts'

/** Of one console. */
const channelsMax = 50

const secrets = z.object({ secret: z.string().optional(), url: z.string().optional() })
type Secrets = z.infer<typeof secrets>

/** A channel with all that sending through it needs. */
export interface OpenedChannel {
  readonly id: string
  readonly settings: ChannelRequest
}

interface Row {
  readonly id: string
  readonly settings: string
  readonly secrets: Uint8Array
  readonly host: string | null
  readonly has_secret: number
  readonly tries: number
  readonly next_try: number | null
  readonly last_sent: number | null
  readonly last_error: string | null
  readonly waiting: number
}

const sealedAs = 'secrets of a channel'

/** Where alarms are sent. Passwords, signing keys and the addresses of hooks are sealed, and never told. */
export class ChannelTable {
  readonly #database: Database
  readonly #sealing: Sealing
  readonly #random: Random

  constructor({ database, sealing, random }: { database: Database; sealing: Sealing; random: Random }) {
    this.#database = database
    this.#sealing = sealing
    this.#random = random
  }

  list(): Channel[] {
    return this.#rows().map((row) => this.#told(row))
  }

  demand(id: string): Channel {
    return this.#told(this.#demandRow(id))
  }

  /** With its secrets: for who sends. */
  open(id: string): OpenedChannel {
    const row = this.#demandRow(id)
    return { id, settings: { ...settingsOf(row), ...this.#secretsOf(row) } }
  }

  add(wanted: ChannelRequest, now: Moment): Channel {
    if (this.#rows().length >= channelsMax) {
      throw new TidemarkError('not-allowed', {
        message: `a console has ${channelsMax} channels at most`,
        hint: 'remove one that is not needed any more',
      })
    }
    const id = Buffer.from(this.#random.bytes(16)).toString('hex')
    const { settings, kept } = parted(wanted, {})
    demandWhole(wanted, kept)
    this.#database.sqlite
      .prepare('INSERT INTO channels (id, settings, secrets, host, has_secret, created) VALUES (?, ?, ?, ?, ?, ?)')
      .run(id, JSON.stringify(settings), this.#sealed(id, kept), ...toldOf(kept), now)
    return this.demand(id)
  }

  /** What waits is tried again at once. */
  change(id: string, wanted: ChannelRequest): Channel {
    const row = this.#demandRow(id)
    const before = settingsOf(row)
    demandSecretAgain(before, wanted, this.#secretsOf(row))
    const { settings, kept } = parted(wanted, before.kind === wanted.kind ? this.#secretsOf(row) : {})
    demandWhole(wanted, kept)
    this.#database.sqlite
      .prepare('UPDATE channels SET settings = ?, secrets = ?, host = ?, has_secret = ?, next_try = NULL WHERE id = ?')
      .run(JSON.stringify(settings), this.#sealed(id, kept), ...toldOf(kept), id)
    return this.demand(id)
  }

  remove(id: string): void {
    this.#demandRow(id)
    this.#database.sqlite.prepare('DELETE FROM channels WHERE id = ?').run(id)
  }

  #told(row: Row): Channel {
    const settings = settingsOf(row)
    const state = {
      waiting: row.waiting,
      tries: row.tries,
      nextTry: row.next_try === null || row.waiting === 0 ? null : isoMoment(row.next_try as Moment),
      lastSent: row.last_sent === null ? null : isoMoment(row.last_sent as Moment),
      lastError: row.last_error,
    }
    const common = { id: row.id, hasSecret: row.has_secret === 1, state }
    return settings.kind === 'smtp' ? { ...settings, ...common } : { ...settings, ...common, host: row.host ?? '' }
  }

  #secretsOf({ id, secrets: sealed }: Row): Secrets {
    return secrets.parse(JSON.parse(this.#sealing.open(sealed, `${sealedAs} ${id}`)))
  }

  #sealed(id: string, kept: Secrets): Uint8Array {
    return this.#sealing.seal(JSON.stringify(kept), `${sealedAs} ${id}`)
  }

  #rows(): Row[] {
    return this.#database.sqlite
      .prepare(
        `SELECT *, (SELECT count(*) FROM outbox WHERE channel = channels.id) AS waiting
           FROM channels ORDER BY created, id`,
      )
      .all() as unknown as Row[]
  }

  #demandRow(id: string): Row {
    const row = this.#rows().find((one) => one.id === id)
    if (row !== undefined) return row
    throw new TidemarkError('not-found', {
      message: `there is no channel "${id}"`,
      hint: 'load the list again: somebody may have removed it',
    })
  }
}

const settingsOf = ({ settings }: Row): ChannelRequest => channelRequest.parse(JSON.parse(settings))

const toldOf = ({ url, secret }: Secrets): [host: string | null, hasSecret: number] => [
  url === undefined ? null : new URL(url).host,
  secret === undefined ? 0 : 1,
]

/** What may be told, and what is sealed. */
function parted(wanted: ChannelRequest, before: Secrets): { settings: ChannelRequest; kept: Secrets } {
  const { secret = before.secret, ...rest } = wanted
  const { url = before.url, ...settings } = rest.kind === 'smtp' ? { ...rest, url: undefined } : rest
  return {
    settings: settings as ChannelRequest,
    kept: {
      ...(secret === undefined || secret === '' ? {} : { secret }),
      ...(url === undefined || rest.kind === 'smtp' ? {} : { url }),
    },
  }
}

function demandWhole(wanted: ChannelRequest, { url, secret }: Secrets): void {
  if (wanted.kind !== 'smtp') {
    if (url !== undefined) return
    throw new TidemarkError('bad-request', {
      message: 'the channel has no address',
      hint: 'give the address that the settings of the robot or the receiver show',
    })
  }
  if ((wanted.user === undefined) !== (secret === undefined)) {
    throw new TidemarkError('bad-request', {
      message: 'a user and a password belong together',
      hint: 'give both, or neither where the mail server takes messages without',
    })
  }
  if (wanted.tls === 'none' && secret !== undefined) {
    throw new TidemarkError('bad-request', {
      message: 'the password would cross the network in the clear',
      hint: 'choose STARTTLS or TLS',
    })
  }
}

/** Or whoever may change a channel could have the password sent to a server of his own. */
function demandSecretAgain(before: ChannelRequest, wanted: ChannelRequest, { secret }: Secrets): void {
  if (secret === undefined || wanted.secret !== undefined || before.kind !== 'smtp' || wanted.kind !== 'smtp') return
  const same = (['host', 'port', 'tls', 'user', 'authority'] as const).every((name) => before[name] === wanted[name])
  if (same) return
  throw new TidemarkError('bad-request', {
    message: 'the password that is kept is for the server as it was',
    hint: 'give the password again',
  })
}
