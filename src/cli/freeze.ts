import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { messageOf, TidemarkError } from '../base/errors.ts'

export interface Hooks {
  readonly freeze?: string | undefined
  readonly thaw?: string | undefined
  /** For each command, and for what is done between them. */
  readonly limitMs: number
}

/**
 * Does `act` between the two commands. Where the first fails nothing is done; the second runs whatever has happened, and when
 * the time is over: nothing stays frozen for longer than that.
 */
export async function whileFrozen<T>(
  { freeze, thaw, limitMs }: Hooks,
  tell: (line: string) => void,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  let outcome: { readonly value: T } | { readonly error: unknown }
  try {
    if (freeze !== undefined) await run('--freeze', freeze, limitMs)
    outcome = { value: await within(limitMs, act) }
  } catch (error) {
    outcome = { error }
  }
  if (thaw !== undefined) {
    try {
      await run('--thaw', thaw, limitMs)
    } catch (error) {
      if ('value' in outcome) throw error
      tell(`${messageOf(error)}: see to it that nothing stays frozen`)
    }
  }
  if ('value' in outcome) return outcome.value
  throw outcome.error
}

async function run(option: string, command: string, limitMs: number): Promise<void> {
  // A group of its own, so that what it started ends with it.
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'inherit', 'inherit'], detached: true })
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  const limit = AbortSignal.timeout(limitMs)
  const kill = (): void => void (child.pid !== undefined && process.kill(-child.pid, 'SIGKILL'))
  limit.addEventListener('abort', kill, { once: true })
  const [status, signal] = await ended.finally(() => limit.removeEventListener('abort', kill))
  if (status === 0) return
  const why = limit.aborted ? `took longer than ${limitMs / 1000} s` : `ended with ${signal ?? `status ${status}`}`
  throw new TidemarkError('interrupted', {
    message: `the command of ${option} ${why}: ${command}`,
    hint: option === '--freeze' ? 'no mark was made' : 'see to it that nothing stays frozen',
  })
}

async function within<T>(limitMs: number, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const limit = AbortSignal.timeout(limitMs)
  const over = new Promise<never>((_, reject) => {
    limit.addEventListener('abort', () => reject(late(limitMs)), { once: true })
  })
  return await Promise.race([act(limit), over])
}

const late = (limitMs: number): TidemarkError =>
  new TidemarkError('unreachable', {
    message: `the vault did not have the mark within ${limitMs / 1000} s`,
    hint: 'see "tidemark status"; the mark may still come, but do not count on what was frozen then',
  })
