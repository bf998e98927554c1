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

export function newEnrolment(
  now: Moment,
  validMs: number,
  random: Random,
): { secret: Buffer; open: { expires: Moment } } {
  return { secret: Buffer.from(random.bytes(secretBytes)), open: { expires: moment(now + validMs * 1000) } }
}
