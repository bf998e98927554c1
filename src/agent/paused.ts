import type { Clock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Tell } from '../base/tell.ts'
import { Backoff } from '../base/backoff.ts'
import type { Problem } from '../model/report.ts'
import type { SourceDefinition, SourceKind } from '../model/source.ts'

/**
 * What a kind of source needs while it is paused: that nothing at it waits for the vault, and that it keeps no more for the vault
 * than it may. Runs until `signal`, or until nothing is left to be done; what it throws is told, and it is begun again.
 */
export type WhilePaused = (
  source: SourceDefinition,
  /** What is wrong at present; the same may be told again. */
  report: (problems: readonly Problem[]) => Promise<void>,
  signal: AbortSignal,
) => Promise<void>

export interface PausedParts {
  readonly kinds: Readonly<Partial<Record<SourceKind, WhilePaused>>>
  /** Has the vault show what is wrong. Rejects while there is no line. */
  readonly report: (source: SourceDefinition, problems: readonly Problem[], signal: AbortSignal) => Promise<void>
  readonly clock: Clock
  readonly random: Random
  readonly tell: Tell
}

/** Until the source is paused no more. */
export async function keepPaused(source: SourceDefinition, parts: PausedParts, signal: AbortSignal): Promise<void> {
  const { clock, random } = parts
  let told = JSON.stringify([])
  const report = async (problems: readonly Problem[]): Promise<void> => {
    const wanted = JSON.stringify(problems)
    if (wanted === told) return
    for (const { message } of problems) parts.tell(`${source.name} is paused: ${message}`, { source: source.id })
    try {
      await parts.report(source, problems, signal)
      told = wanted
    } catch (error) {
      signal.throwIfAborted()
      const { message } = problemOf(error)
      parts.tell(`the vault was not told what is wrong with ${source.name}, which is paused: ${message}`, { error })
    }
  }
  const backoff = new Backoff(clock, random)
  while (!signal.aborted) {
    try {
      return await parts.kinds[source.kind]?.(source, report, signal)
    } catch (error) {
      if (signal.aborted) return
      const { message, ...hint } = problemOf(error)
      await report([
        { code: 'pause-incomplete', message: `what waits for the vault is not let go yet: ${message}`, ...hint },
      ])
      await backoff.wait(signal).catch(() => undefined)
    }
  }
}

const problemOf = (error: unknown): Pick<Problem, 'message' | 'hint'> => ({
  message: messageOf(error),
  ...(error instanceof TidemarkError && error.hint !== undefined ? { hint: error.hint } : {}),
})
