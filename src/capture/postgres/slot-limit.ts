import type { Problem } from '../../model/report.ts'
import { problemOf } from '../problems.ts'
import { openPrimary } from './primary.ts'
import { type WatchRequest, watchSlot } from './server-watch.ts'
import { removeSlot } from './slot-removal.ts'

/** Also while nothing is streamed: what the server keeps for us must not fill its disk. Tells at each look what is wrong with the slot. */
export async function keepSlotWithin(
  request: WatchRequest,
  told: (problems: readonly Problem[]) => void | Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { server, slot, clock } = request
  for await (const { verdict, problems } of watchSlot(request, signal)) {
    await told(problems)
    if (verdict !== 'give-up') continue
    try {
      await using sql = await openPrimary(server, signal)
      await removeSlot(sql, slot, clock, signal)
    } catch (error) {
      signal.throwIfAborted()
      // It is tried again at the next look.
      await told([problemOf(error)])
    }
  }
}
