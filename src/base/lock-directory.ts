import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { TidemarkError } from './errors.ts'
import { tryLock } from './syscalls/lock.ts'

/**
 * Keeps a second process out of a directory for as long as it is not disposed, or until this process ends, however
 * that happens. Throws `already-running` where another has it.
 */
export function lockDirectory(path: string): Disposable {
  const fd = openSync(join(path, 'lock'), 'a', 0o600)
  if (tryLock(fd)) return { [Symbol.dispose]: () => closeSync(fd) }
  closeSync(fd)
  throw new TidemarkError('already-running', {
    message: `another process already works on ${path}`,
    hint: 'Stop it first, or name another directory.',
  })
}
