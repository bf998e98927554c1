import { isCode, isSystemError, messageOf, TidemarkError } from '../base/errors.ts'
import { noRoomCodes } from './write-group.ts'

/** Failures of the target and of the operator's patience, told as what they mean to a restore that can be resumed. */
export function resumable(error: unknown, target: string, signal: AbortSignal): unknown {
  const hint = 'go on later with --resume: what is restored so far stays'
  if (signal.aborted) {
    return new TidemarkError('interrupted', { message: `the restore to ${target} was stopped`, hint, cause: error })
  }
  if (isSystemError(error, ...noRoomCodes)) {
    const message = `the file system of ${target} is full: ${messageOf(error)}`
    return new TidemarkError('no-space', { message, hint: `make room, then ${hint}`, cause: error })
  }
  if (isCode(error, 'unreachable')) {
    return new TidemarkError('unreachable', { message: error.message, hint, cause: error })
  }
  return error
}
