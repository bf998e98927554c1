import { TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { type Moment, moment } from '../model/moment.ts'
import type { Id } from '../model/source.ts'

/**
 * What a person carries from the vault to a server that is to be protected. As text: base64url of
 *    0   1  version: 1 for a new agent, 2 for one that is enrolled already and whose place a server takes, 3 for a console
 *    1  32  SHA-256 of the public key of the vault's authority
 *   33  16  secret, good once and for a while
 *   49  16  version 2: the id of that agent
 *    …   …  UTF-8: host:port of the vault, may be empty
 */
export interface EnrolmentToken {
  readonly authority: Buffer
  readonly secret: Buffer
  readonly address: string
  /** The agent it is for, where it is not for a new one. */
  readonly replaces?: Id | undefined
  /** It lets in a console, and no agent. */
  readonly isForConsole?: boolean | undefined
}

const versions = { new: 1, replacing: 2, console: 3 }
const secretBytes = 16
const idBytes = 16
const headBytes = 33 + secretBytes

export function formatToken({ authority, secret, address, replaces, isForConsole }: EnrolmentToken): string {
  const version = Buffer.from([isForConsole ? versions.console : replaces ? versions.replacing : versions.new])
  const agent = Buffer.from(replaces ?? '', 'hex')
  return Buffer.concat([version, authority, secret, agent, Buffer.from(address, 'utf8')]).toString('base64url')
}

export function parseToken(text: string): EnrolmentToken {
  const bytes = /^[A-Za-z0-9_-]+$/.test(text.trim()) ? Buffer.from(text.trim(), 'base64url') : Buffer.alloc(0)
  const isReplacing = bytes[0] === versions.replacing
  const isForConsole = bytes[0] === versions.console
  const addressAt = headBytes + (isReplacing ? idBytes : 0)
  if (bytes.length < addressAt || !(isReplacing || isForConsole || bytes[0] === versions.new)) {
    throw new TidemarkError('token-refused', {
      message: 'this is not an enrolment token',
      hint: 'copy the whole line that "tidemark vault token" printed at the vault, by a release as new as this one',
    })
  }
  return {
    authority: bytes.subarray(1, 33),
    secret: bytes.subarray(33, headBytes),
    address: bytes.toString('utf8', addressAt),
    ...(isForConsole ? { isForConsole } : {}),
    ...(isReplacing ? { replaces: bytes.toString('hex', headBytes, addressAt) as Id } : {}),
  }
}

/** What the vault keeps of a token for one agent: good for that agent, and for nothing without its id. */
export const replacingSecret = (secret: string, agent: Id): string => `${secret}:${agent}`

/** What the vault keeps of a token for a console: no agent can enrol with it. */
export const consoleSecret = (secret: string): string => `${secret}:console`

/** What an agent that enrols again signs with the key it had: it is good with this token and this request only. */
export const proofText = ({ agent, secret, csr }: { agent: Id; secret: string; csr: string }): string =>
  `tidemark enrol ${agent} ${secret}\n${csr}`

export function newEnrolment(
  now: Moment,
  validMs: number,
  random: Random,
): { secret: Buffer; open: { expires: Moment } } {
  return { secret: Buffer.from(random.bytes(secretBytes)), open: { expires: moment(now + validMs * 1000) } }
}
