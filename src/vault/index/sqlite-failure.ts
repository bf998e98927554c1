import { systemCode, TidemarkError } from '../../base/errors.ts'
import { damagedIndex } from './sealing.ts'

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const full = 13
const corrupt = 11
const notADatabase = 26

const primaryCode = (error: unknown): number | undefined =>
  error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : undefined

/** Whether the file of an index holds what SQLite did not write. */
export function isDamage(error: unknown): boolean {
  const code = primaryCode(error)
  return code === corrupt || code === notADatabase
}

/** What went wrong with an index, for the person who can mend it. */
export function indexFailure(error: unknown): unknown {
  if (error instanceof TidemarkError) return error
  // Node.js says so of a database that was closed while someone read it.
  if (systemCode(error) === 'ERR_INVALID_STATE') return indexClosed(error)
  if (isDamage(error)) return damagedIndex('SQLite cannot read it', error)
  if (primaryCode(error) === full) {
    return new TidemarkError('vault-full', {
      message: 'the index has no room to grow; points after this cannot be seen until it has',
      hint: 'free space on the file system of the vault, or shorten the windows of its sources',
      cause: error,
    })
  }
  return error
}

export const indexClosed = (cause?: unknown): TidemarkError =>
  new TidemarkError('interrupted', { message: 'the index was closed', hint: 'ask again once the vault runs', cause })
