import { isSystemError } from '../../base/errors.ts'
import type { SourceDefinition } from '../../model/source.ts'
import { openControl } from './connect.ts'
import { describeVolume, type ServerHome } from './start-server.ts'

/** As short as it can be: the server notes the span as when the vault is away, and ends it by itself. */
const degradeMs = 1

/**
 * While nothing is captured no flush waits for the vault, whatever was wanted in case it is away, as a pause is somebody's word.
 * The server goes on, and gives history up at the limit of its log.
 */
export async function whilePausedVolume(
  source: SourceDefinition,
  { home }: { readonly home: ServerHome },
  signal: AbortSignal,
): Promise<void> {
  if (source.volume?.zeroLoss === undefined) return
  const settings = { ...source.volume, zeroLoss: { degradeMs } }
  // Also for a server that somebody starts meanwhile.
  const folder = await describeVolume(home, { ...source, volume: settings })
  try {
    const control = await openControl(folder, signal)
    control.tell({ kind: 'settings', settings })
    control.tell({ kind: 'ask-place', tag: 0 })
    // Messages are taken in their order.
    for await (const message of control.messages) if (message.kind === 'place') break
    control.end()
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'ECONNREFUSED')) throw error
  }
}
