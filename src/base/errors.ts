/**
 * Every error a user can meet has a code of this list; docs/operate/errors.md is generated from it.
 * The key is what scripts match on and never changes its meaning.
 */
export const errorCodes = {
  'bad-request': 'The request is not of the documented form.',
  'not-found': 'There is no source, agent, path or file of that name.',
  'already-exists': 'The name is taken.',
  'not-allowed': 'This identity may not do that.',
  'sign-in-needed': 'Nobody is signed in on this connection, or the session has ended.',
  'sign-in-refused': 'No account has that name, password and code, or it is disabled.',
  'code-needed': 'The password is right; the code of the authenticator is needed as well.',
  'password-change-needed': 'The password was given by someone else and must be changed first.',
  'too-many-tries': 'There were too many tries; the message tells when the next one is heard.',
  'busy': 'As many are served at once as can be; try again in a while.',
  'token-refused': 'The enrolment token is unknown, used or expired.',
  'version-refused': 'The peer speaks no protocol version that this program knows.',
  'protocol-violation': 'A peer sent bytes that are not of the protocol; the connection was closed.',
  'sequence-refused': 'A batch did not continue the journal where it ends.',
  'chunk-missing': 'A change refers to a chunk that this agent has not sent.',
  'point-unreachable': 'There is no recovery point where one was asked for.',
  'damaged': 'Stored bytes are not what was written; the error names the file and place.',
  'unsupported-format': 'A stored file is of a format version that this program does not know.',
  'key-refused': 'The vault key is missing or is not the one this vault was made with.',
  'vault-full': 'The file system of the vault has no room; nothing is acknowledged until it has.',
  'spool-full': 'The spool of the agent has reached its limit; a hole in the history follows.',
  'source-vanished': 'A protected path or its mount is no longer there; nothing is taken as deleted.',
  'unreadable': 'A protected path cannot be read.',
  'target-not-empty': 'The target directory of a restore holds something already.',
  'no-space': 'The target has too little free space.',
  'verification-failed': 'What was read back is not what was stored.',
  'unreachable': 'The peer cannot be reached.',
  'tls-refused': 'The peer has not proved who it is.',
  'in-use': 'A device or file is in use by something else.',
  'already-running': 'Another process already works on this directory.',
  'not-running': 'No agent or vault answers here.',
  'database-refused': 'A database server refused a connection or a command; its own words and code are in the message.',
  'database-precondition': 'A database server lacks a setting, a right or a version that this needs.',
  'database-log-gap': 'The log that has to come next is no longer at the database server, or is not of its history.',
  'unusable-platform': 'The machine lacks something that is needed.',
  'channel-refused': 'The receiver of a channel of the console did not take a message.',
  'interrupted': 'The work was stopped before its end; it can be resumed.',
} as const

export type ErrorCode = keyof typeof errorCodes

/** Which sentence a message is, and what stands in it: for who tells it in another language. */
export interface ErrorFact {
  readonly code: string
  readonly values: Readonly<Record<string, string | number>>
}

/** A failure told to the person who can mend it: what was attempted on what, and the next step. */
export class TidemarkError extends Error {
  override readonly name = 'TidemarkError'
  readonly code: ErrorCode
  /** The next step, as a sentence. */
  readonly hint: string | undefined
  readonly fact: ErrorFact | undefined

  constructor(code: ErrorCode, told: { message: string; hint?: string; cause?: unknown; fact?: ErrorFact }) {
    super(told.message, told.cause === undefined ? undefined : { cause: told.cause })
    this.code = code
    this.hint = told.hint
    this.fact = told.fact
  }
}

export const isCode = (error: unknown, code: ErrorCode): error is TidemarkError =>
  error instanceof TidemarkError && error.code === code

/** The `code` of a Node.js system error ('ENOENT', …), or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

export const isSystemError = (error: unknown, ...codes: string[]): boolean => {
  const code = systemCode(error)
  return code !== undefined && codes.includes(code)
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
