import type { Clock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Problem } from '../../model/report.ts'
import type { SourceDefinition } from '../../model/source.ts'
import { openControl } from './connect.ts'
import { describeVolume, type ServerHome, withServer } from './start-server.ts'

export interface PausedParts {
  readonly home: ServerHome
  readonly clock: Clock
  readonly report: (problems: readonly Problem[]) => Promise<void>
}

/** As short as it can be: the server notes the span as when the vault is away, and ends it by itself. */
const degradeMs = 1
/** Before a server that has ended is started again. */
const restMs = 1000

/**
 * While nothing is captured the volume is served all the same: a server that ends is started again. It gives history up at the limit of
 * its log, and no flush waits for the vault, whatever was wanted in case that is away, as a pause is somebody's word.
 */
export async function whilePausedVolume(
  source: SourceDefinition,
  { home, clock, report }: PausedParts,
  signal: AbortSignal,
): Promise<void> {
  const { volume } = source
  if (volume === undefined) throw new TidemarkError('bad-request', { message: 'a source without its settings' })
  const settings = volume.zeroLoss === undefined ? volume : { ...volume, zeroLoss: { degradeMs } }
  const folder = await describeVolume(home, { ...source, volume: settings })
  for (;;) {
    const control = await withServer(home, folder, clock, signal, () => openControl(folder, signal))
    try {
      control.tell({ kind: 'settings', settings })
      for await (const message of control.messages) if (message.kind === 'state') await report(message.problems)
    } finally {
      control.end()
    }
    await clock.sleep(restMs, signal)
  }
}
