import { stat } from 'node:fs/promises'
import { isSystemError } from './errors.ts'

/** Whether something is there; what cannot be looked at is an error, not absence. */
export async function pathExists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return false
    throw error
  }
}
