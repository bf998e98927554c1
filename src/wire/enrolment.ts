import { createHash, timingSafeEqual } from 'node:crypto'
import { TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { type Moment, moment } from '../model/moment.ts'

/**
 * What a person carries from the vault to a server that is to be protected. As text: base64url of
 *    0   1  version, 1
 *    1  32  SHA-256 of the public key of the vault's authority
 *   33  16  secret, good once and for a while
 *   49   …  UTF-8: host:port of the vault, may be empty
 */
export interface EnrolmentToken {
  readonly authority: Buffer
  readonly secret: Buffer
  readonly address: string
}

const version = 1
const headBytes = 49
const secretBytes = 16

export const formatToken = ({ authority, secret, address }: EnrolmentToken): string =>
  Buffer.concat([Buffer.from([version]), authority, secret, Buffer.from(address, 'utf8')]).toString('base64url')

export function parseToken(text: string): EnrolmentToken {
  const bytes = /^[A-Za-z0-9_-]+$/.test(text.trim()) ? Buffer.from(text.trim(), 'base64url') : Buffer.alloc(0)
  if (bytes.length < headBytes || bytes[0] !== version) {
    throw new TidemarkError('token-refused', {
      message: 'this is not an enrolment token',
      hint: 'copy the whole line that "tidemark vault token" printed at the vault, by a release as new as this one',
    })
  }
  return {
    authority: bytes.subarray(1, 33),
    secret: bytes.subarray(33, headBytes),
    address: bytes.toString('utf8', headBytes),
  }
}

/** What the vault keeps of a token that has not been used: never the secret itself. */
export interface OpenEnrolment {
  /** SHA-256 of the secret, in hexadecimal digits. */
  readonly secretHash: string
  readonly expires: Moment
}

export function newEnrolment(now: Moment, validMs: number, random: Random): { secret: Buffer; open: OpenEnrolment } {
  const secret = Buffer.from(random.bytes(secretBytes))
  return { secret, open: { secretHash: hashOf(secret).toString('hex'), expires: moment(now + validMs * 1000) } }
}

/**
 * The open enrolment that a secret (base64url, as the agent posts it) belongs to. The caller removes it, durably, before
 * it lets the agent in: a token is good once.
 */
export function redeem(secret: string, open: readonly OpenEnrolment[], now: Moment): OpenEnrolment {
  const hash = hashOf(Buffer.from(secret, 'base64url'))
  const found = open.find(({ secretHash }) => {
    const kept = Buffer.from(secretHash, 'hex')
    return kept.length === hash.length && timingSafeEqual(kept, hash)
  })
  if (found && found.expires > now) return found
  throw new TidemarkError('token-refused', {
    message: found ? 'this enrolment token has expired' : 'this enrolment token is unknown or was used before',
    hint: 'make a new one at the vault with "tidemark vault token"',
  })
}

const hashOf = (secret: Uint8Array): Buffer => createHash('sha256').update(secret).digest()
