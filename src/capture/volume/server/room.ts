import { isSystemError, TidemarkError } from '../../../base/errors.ts'
import type { LogFile } from './files.ts'

/**
 * Room for the small files beside the log. It is set aside when they are made; a file system that copies on write may have none for
 * writing in their place all the same. That is `no-space`: what they said before stays true, and it is tried again.
 */

export const noRoom = (cause?: unknown): TidemarkError =>
  new TidemarkError('no-space', {
    message: 'there is no room for the log of the volume',
    hint: 'Make room on the file system that holds it; a volume needs some hundred megabytes there at least.',
    cause,
  })

/** Where it fails, what the file holds there is anything. */
export function writeWhole(file: LogFile, part: Uint8Array, at: number): void {
  if (file.write([part], at) < part.length) throw noRoom()
}

export async function orNoRoom<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw isNoRoom(error) ? noRoom(error) : error
  }
}

export const isNoRoom = (error: unknown): boolean => isSystemError(error, 'ENOSPC', 'EDQUOT')
