import type { Clock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { together } from '../../base/together.ts'
import type { Problem } from '../../model/report.ts'
import type { SourceDefinition } from '../../model/source.ts'
import type { Account, ServerRequest } from './server.ts'
import { keepSlotWithin } from './slot-limit.ts'
import { slotOf } from './slot.ts'
import { ZeroLossKeeper } from './zero-loss.ts'

export interface PausedParts {
  readonly account: Account
  readonly clock: Clock
  readonly random: Random
  readonly report: (problems: readonly Problem[]) => Promise<void>
}

/**
 * While nothing is captured: no commit waits for the vault, whatever was wanted in case it is away, as a pause is somebody's word.
 * The slot keeps the log, so that nothing is missed, and is given up where the server would have to keep more than it may.
 */
export async function whilePausedPostgres(
  source: SourceDefinition,
  { account, clock, random, report }: PausedParts,
  signal: AbortSignal,
): Promise<void> {
  const { postgres: settings } = source
  if (settings === undefined) throw new TidemarkError('bad-request', { message: 'a source without its settings' })
  const { url, walKeptBytesMax } = settings
  const slot = slotOf(source)
  const server: ServerRequest = { url, account, applicationName: slot, clock, random }
  const keeper = new ZeroLossKeeper({
    server,
    zeroLoss: undefined,
    capturedAt: undefined,
    clock,
    unprotected: () => {},
  })
  const told = (problems: readonly Problem[]): Promise<void> => report([...problems, ...keeper.problems()])
  await together(signal, [
    (inside) => keeper.run(inside),
    (inside) => keepSlotWithin({ server, slot, walKeptBytesMax, clock }, told, inside),
  ])
}
