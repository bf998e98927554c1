import type { NbdError } from './export.ts'

/** The server has said no to a request; the connection goes on. */
export class NbdRefused extends Error {
  override readonly name = 'NbdRefused'
  readonly error: NbdError

  constructor(error: NbdError, message: string) {
    super(`${message === '' ? 'the NBD server refuses' : message} (${error})`)
    this.error = error
  }
}
