import { createHash } from 'node:crypto'
import { ByteReader } from '../../../base/bytes.ts'
import { TidemarkError } from '../../../base/errors.ts'
import type { Random } from '../../../base/random.ts'
import { passwordMessage, readStrings, saslInitialResponse, saslResponse } from './messages.ts'
import { type Binding, Scram, scramMechanism, scramPlusMechanism, ScramRefused } from './scram.ts'
import type { Secret } from './secret.ts'
import type { ChannelBinding } from './target.ts'

export interface Authenticating {
  readonly user: string
  readonly password: Secret | undefined
  /** What the connection goes over. Only the last two keep a password that is sent as it is. */
  readonly over: 'tcp' | 'tls' | 'socket'
  readonly channelBinding: ChannelBinding
  /** Of the server's certificate, where its kind is known; see tls.ts. */
  readonly certificateHash: Uint8Array | undefined
  readonly random: Random
  /** `user@host:port`, for messages. */
  readonly target: string
}

/** The numbers of the server's requests. */
const request = { ok: 0, cleartext: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12 } as const

/**
 * Our side of proving who we are, one server message at a time:
 *
 *   start     -ok->            done (trust, peer, certificate)
 *   start     -cleartext,md5-> answered      -ok-> done
 *   start     -sasl->          challenged    -saslContinue-> proved -saslFinal-> answered -ok-> done
 *
 * Anything else is not of the protocol. In particular a server that has begun with SCRAM must prove itself before its ok counts.
 */
export class Authentication {
  readonly #parts: Authenticating
  #stage: 'start' | 'challenged' | 'proved' | 'answered' | 'done' = 'start'
  #scram: Scram | undefined
  #isBound = false

  constructor(parts: Authenticating) {
    this.#parts = parts
  }

  get isDone(): boolean {
    return this.#stage === 'done'
  }

  /**
   * What to answer to an Authentication message; undefined for nothing. Only the proof of the password takes its time,
   * and the server waits for it; what the server says after that may come in one go.
   */
  answer(body: Buffer): Buffer | undefined | Promise<Buffer> {
    const reader = new ByteReader(body)
    const kind = reader.u32()
    const rest = reader.raw(reader.remaining)
    try {
      return this.#answer(kind, rest)
    } catch (error) {
      throw this.#told(error)
    }
  }

  #answer(kind: number, rest: Buffer): Buffer | undefined | Promise<Buffer> {
    if (kind === request.ok && (this.#stage === 'start' || this.#stage === 'answered')) return this.#finish()
    if (this.#stage === 'start') {
      this.#stage = kind === request.sasl ? 'challenged' : 'answered'
      if (kind === request.cleartext) return passwordMessage(this.#cleartext())
      if (kind === request.md5) return passwordMessage(this.#md5(rest))
      if (kind === request.sasl) return this.#beginScram(readStrings(rest))
      throw this.#refused(
        `asks for authentication method ${kind}, which is not known here`,
        'use scram-sha-256, cert or peer in pg_hba.conf',
      )
    }
    if (this.#stage === 'challenged' && kind === request.saslContinue) {
      this.#stage = 'proved'
      return this.#begun()
        .final(rest.toString('utf8'))
        .then(saslResponse, (error: unknown) => Promise.reject(this.#told(error)))
    }
    if (this.#stage === 'proved' && kind === request.saslFinal) {
      this.#stage = 'answered'
      this.#begun().verify(rest.toString('utf8'))
      return undefined
    }
    throw new TidemarkError('protocol-violation', {
      message: `${this.#parts.target} sent authentication message ${kind} out of turn`,
    })
  }

  #told(error: unknown): unknown {
    if (!(error instanceof ScramRefused)) return error
    return new TidemarkError('tls-refused', {
      message: `${this.#parts.target} is not who it says it is, or there is somebody in between: ${error.message}`,
      hint: 'check the address, and use sslmode=verify-full',
    })
  }

  #finish(): undefined {
    if (this.#parts.channelBinding === 'require' && !this.#isBound) throw this.#unbound()
    this.#stage = 'done'
  }

  #begun(): Scram {
    return this.#scram as Scram
  }

  #cleartext(): string {
    if (this.#parts.channelBinding === 'require') throw this.#unbound()
    if (this.#parts.over === 'tcp') {
      throw this.#refused(
        'asks for the password in clear text over a connection that anyone on the way can read',
        'use scram-sha-256 in pg_hba.conf, or sslmode=verify-full',
      )
    }
    return this.#password()
  }

  #md5(salt: Buffer): string {
    if (this.#parts.channelBinding === 'require') throw this.#unbound()
    const inner = md5(Buffer.from(this.#password() + this.#parts.user, 'utf8'))
    return `md5${md5(Buffer.concat([Buffer.from(inner), salt.subarray(0, 4)]))}`
  }

  #beginScram(mechanisms: readonly string[]): Buffer {
    const binding = this.#bindingFor(mechanisms)
    const mechanism = binding.kind === 'bound' ? scramPlusMechanism : scramMechanism
    if (!mechanisms.includes(mechanism)) {
      throw this.#refused(`offers only ${mechanisms.filter(Boolean).join(', ')}`, 'use scram-sha-256 in pg_hba.conf')
    }
    this.#scram = new Scram(this.#password(), binding, this.#parts.random)
    return saslInitialResponse(mechanism, this.#scram.first())
  }

  #bindingFor(mechanisms: readonly string[]): Binding {
    const { channelBinding, certificateHash } = this.#parts
    if (channelBinding === 'disable' || certificateHash === undefined) {
      if (channelBinding === 'require') throw this.#unbound()
      return { kind: 'none' }
    }
    if (mechanisms.includes(scramPlusMechanism)) {
      this.#isBound = true
      return { kind: 'bound', certificateHash }
    }
    if (channelBinding === 'require') throw this.#unbound()
    return { kind: 'unused' }
  }

  #password(): string {
    if (this.#parts.password) return this.#parts.password.reveal()
    throw this.#refused(
      'asks for a password, and there is none',
      'put one into the password file (~/.pgpass, or passfile=… in the URL)',
    )
  }

  #unbound(): TidemarkError {
    return this.#refused(
      'does not bind the password to the TLS connection, which channel_binding=require asks for',
      'use TLS and scram-sha-256 at the server, or channel_binding=prefer',
    )
  }

  #refused(what: string, hint: string): TidemarkError {
    return new TidemarkError('database-refused', { message: `${this.#parts.target} ${what}`, hint })
  }
}

const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex')
