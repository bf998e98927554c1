import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Tell } from '../base/tell.ts'
import { Backoff } from '../base/backoff.ts'
import { problemOf } from '../capture/problems.ts'
import type { Problem } from '../model/report.ts'
import type { SourceDefinition, SourceKind } from '../model/source.ts'

/**
 * What a kind of source needs while it is paused: that nothing at it waits for the vault, and that it keeps no more for the vault
 * than it may. Runs until `signal`; what it throws is told, and it is begun again.
 */
export type WhilePaused = (
  source: SourceDefinition,
  /** All that is wrong at present; the same may be told again. */
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

/** What is wrong is told again at once where it is something else, and where only its figures move, so often. */
const figuresMs = 60_000

/** Until the source is paused no more. */
export async function keepPaused(source: SourceDefinition, parts: PausedParts, signal: AbortSignal): Promise<void> {
  const { kinds, clock, random, tell } = parts
  let told: readonly Problem[] = []
  let toldAtMs = -Infinity
  const report = async (problems: readonly Problem[]): Promise<void> => {
    if (JSON.stringify(problems) === JSON.stringify(told)) return
    const isElse = codesOf(problems) !== codesOf(told)
    if (!isElse && clock.monotonicMs() - toldAtMs < figuresMs) return
    if (isElse) for (const { message } of problems) tell(`${source.name} is paused: ${message}`, { source: source.id })
    told = problems
    toldAtMs = clock.monotonicMs()
    try {
      await parts.report(source, problems, signal)
    } catch (error) {
      signal.throwIfAborted()
      tell(`the vault was not told how ${source.name} is, which is paused: ${messageOf(error)}`, { error })
    }
  }
  const backoff = new Backoff(clock, random)
  while (!signal.aborted) {
    try {
      return await kinds[source.kind]?.(source, report, signal)
    } catch (error) {
      if (signal.aborted) return
      await report([problemOf(error)])
      await backoff.wait(signal).catch(() => undefined)
    }
  }
}

const codesOf = (problems: readonly Problem[]): string => problems.map(({ code }) => code).join(' ')
