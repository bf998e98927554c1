import { Malformed } from '../base/bytes.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { UnknownVersion } from '../format/sealed-file.ts'
import type { StoreName } from './store.ts'

/** Stored bytes that are not what was written. */
export const damaged = (name: StoreName, at: number, reason: unknown): TidemarkError =>
  new TidemarkError('damaged', {
    message: `${name} is damaged at byte ${at}: ${messageOf(reason)}`,
    hint: 'Check the disk, and bring this file back from a copy of the directory it is in.',
    cause: reason,
  })

/** Reads stored bytes; what is not of their form is damage, or written by a newer program. */
export function readStored<T>(name: StoreName, at: number, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof UnknownVersion) throw unsupported(name, error)
    if (error instanceof Malformed) throw damaged(name, at, error)
    throw error
  }
}

export const unsupported = (name: StoreName, reason: Error): TidemarkError =>
  new TidemarkError('unsupported-format', {
    message: `${name} has ${reason.message}`,
    hint: 'Read it with the program that wrote it, or a newer one.',
    cause: reason,
  })
