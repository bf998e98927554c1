import { isCode, isSystemError, messageOf, TidemarkError } from '../base/errors.ts'
import { exitStatus, type ExitStatus, type Parts } from './parts.ts'

/** The outermost layer: an error becomes words for the user and an exit status. */
export function tellFailure(error: unknown, json: boolean, { err, out }: Pick<Parts, 'err' | 'out'>): ExitStatus {
  const told = error instanceof TidemarkError ? error : asTold(error)
  if (json) {
    const { code, message, hint } = told
    out.write(`${JSON.stringify({ error: { code, message, ...(hint === undefined ? {} : { hint }) } })}\n`)
  } else {
    err.write(`tidemark: ${told.message}\n`)
    if (told.hint !== undefined) err.write(`  next: ${told.hint}\n`)
  }
  if (isCode(told, 'interrupted')) return exitStatus.interrupted
  if (isCode(told, 'verification-failed') || isCode(told, 'damaged')) return exitStatus.notVerified
  if (isCode(told, 'unreachable') || isCode(told, 'not-running')) return exitStatus.unreachable
  if (isCode(told, 'bad-request')) return exitStatus.usage
  return exitStatus.failed
}

function asTold(error: unknown): { code: string; message: string; hint?: string } {
  if (isSystemError(error, 'EACCES', 'EPERM')) {
    return { code: 'failed', message: messageOf(error), hint: 'run the command as a user who may do that' }
  }
  if (isSystemError(error, 'ENOSPC', 'EDQUOT'))
    return { code: 'no-space', message: messageOf(error), hint: 'make room and repeat' }
  if (error instanceof Error && error.name === 'AbortError') return { code: 'interrupted', message: 'interrupted' }
  return { code: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}
