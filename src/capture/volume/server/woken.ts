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
  const over = new AbortController()
  const ends = AbortSignal.any([signal, over.signal])
  try {
    await Promise.race([wake.wait(ends), clock.sleep(ms, ends)])
  } finally {
    over.abort()
  }
}
