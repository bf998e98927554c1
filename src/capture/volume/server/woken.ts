import type { Clock } from '../../../base/clock.ts'
import type { Wake } from '../../../base/wake.ts'

/** Resolves at the next `wake`, and after `ms` where they are given; rejects with the signal's reason when it aborts. */
export async function wokenWithin(
  wake: Wake,
  clock: Clock,
  ms: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (ms === undefined) return await wake.wait(signal)
  const awake = new AbortController()
  // Others may be woken by it too; they look again, and wait on. Only `awake` ends the sleep early.
  clock.sleep(Math.max(0, ms), awake.signal).then(
    () => wake.wake(),
    () => undefined,
  )
  try {
    await wake.wait(signal)
  } finally {
    awake.abort(woken)
  }
}

/** Made once: with a stack of its own each time it would cost more than all the rest, many thousand times a second. */
const woken = new Error('woken')
