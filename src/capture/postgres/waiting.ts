import { type EventEmitter, once } from 'node:events'
import type { Clock } from '../../base/clock.ts'

/** What is said when something that may be waited for has changed. */
export const changed = 'change'

/** Resolves at the next change, or after `ms`; nothing of the wait is left behind. */
export async function changeWithin(
  emitter: EventEmitter,
  clock: Clock,
  ms: number,
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  const waits = [clock.sleep(ms, either), once(emitter, changed, { signal: either })]
  try {
    await Promise.race(waits)
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    over.abort()
    await Promise.allSettled(waits)
  }
}

export async function untilSo(emitter: EventEmitter, isSo: () => boolean, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  while (!isSo()) {
    await once(emitter, changed, { signal })
    signal.throwIfAborted()
  }
}
