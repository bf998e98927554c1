import { constants } from 'node:os'
import { getSystemErrorMessage } from 'node:util'
import { isSystemError } from '../errors.ts'

/** A failed system call, shaped like the errors of node:fs: `errno` is negative, `code` its name. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError'
  readonly code: string
  readonly errno: number
  readonly syscall: string
  /** The binary string that was passed, when the call was about a path. */
  readonly path?: string

  constructor(errno: number, syscall: string, path?: string, hint?: string) {
    const code = names.get(errno) ?? `E${errno}`
    const about = path === undefined ? '' : ` '${Buffer.from(path, 'latin1').toString('utf8')}'`
    super(`${code}: ${getSystemErrorMessage(-errno)}, ${syscall}${about}${hint === undefined ? '' : `; ${hint}`}`)
    this.code = code
    this.errno = -errno
    this.syscall = syscall
    if (path !== undefined) this.path = path
  }
}

// Where two names share a number (EAGAIN and EWOULDBLOCK, ENOTSUP and EOPNOTSUPP), the one node:fs uses wins.
const names = new Map<number, string>(Object.entries(constants.errno).map(([name, errno]) => [errno, name]))
names.set(constants.errno.EAGAIN, 'EAGAIN')
names.set(constants.errno.ENOTSUP, 'ENOTSUP')

/** What `call` returns, or `otherwise` when it fails with one of `codes`: for failures that are an expected answer. */
export function unlessFailedWith<Result, Otherwise>(
  codes: readonly string[],
  otherwise: Otherwise,
  call: () => Result,
): Result | Otherwise {
  try {
    return call()
  } catch (error) {
    if (isSystemError(error, ...codes)) return otherwise
    throw error
  }
}
