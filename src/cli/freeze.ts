import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Clock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'

export interface Hooks {
  readonly freeze?: string | undefined
  readonly thaw?: string | undefined
  /** For each command, and for what is done between them. */
  readonly limitMs: number
  readonly clock: Clock
}

/**
 * Does `act` between the two commands. Where the first fails nothing is done; the second runs whatever has happened, and when
 * the time is over: nothing stays frozen for longer than that.
 */
export async function whileFrozen<T>(
  { freeze, thaw, ...limit }: Hooks,
  tell: (line: string) => void,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  let outcome: { readonly value: T } | { readonly error: unknown }
  try {
    if (freeze !== undefined) await run('--freeze', freeze, limit)
    outcome = { value: await within(limit, act) }
  } catch (error) {
    outcome = { error }
  }
  if (thaw !== undefined) {
    try {
      await run('--thaw', thaw, limit)
    } catch (error) {
      if ('value' in outcome) throw error
      tell(`${messageOf(error)}: see to it that nothing stays frozen`)
    }
  }
  if ('value' in outcome) return outcome.value
  throw outcome.error
}

type Limit = Pick<Hooks, 'limitMs' | 'clock'>

async function run(option: string, command: string, { limitMs, clock }: Limit): Promise<void> {
  // A group of its own, so that what it started ends with it.
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'inherit', 'inherit'], detached: true })
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  const limit = limitOf(limitMs, clock)
  const kill = (): void => void (child.pid !== undefined && process.kill(-child.pid, 'SIGKILL'))
  limit.over.addEventListener('abort', kill, { once: true })
  const [status, signal] = await ended.finally(() => limit.lift())
  if (status === 0) return
  const why = limit.over.aborted ? `took longer than ${limitMs / 1000} s` : `ended with ${signal ?? `status ${status}`}`
  throw new TidemarkError('interrupted', {
    message: `the command of ${option} ${why}: ${command}`,
    hint: option === '--freeze' ? 'no mark was made' : 'see to it that nothing stays frozen',
  })
}

async function within<T>({ limitMs, clock }: Limit, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const limit = limitOf(limitMs, clock)
  const late = new Promise<never>((_, reject) => {
    limit.over.addEventListener('abort', () => reject(tooLate(limitMs)), { once: true })
  })
  return await Promise.race([act(limit.over), late]).finally(() => limit.lift())
}

/** `over` aborts after the time, unless the limit was lifted before. */
function limitOf(limitMs: number, clock: Clock): { readonly over: AbortSignal; lift(): void } {
  const over = new AbortController()
  const lifted = new AbortController()
  clock.sleep(limitMs, lifted.signal).then(
    () => over.abort(),
    () => undefined,
  )
  return { over: over.signal, lift: () => lifted.abort() }
}

const tooLate = (limitMs: number): TidemarkError =>
  new TidemarkError('unreachable', {
    message: `the vault did not have the mark within ${limitMs / 1000} s`,
    hint: 'see "tidemark status"; the mark may still come, but do not count on what was frozen then',
  })
