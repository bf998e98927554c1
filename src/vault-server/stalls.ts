import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Tell } from '../base/tell.ts'
import type { Vault } from '../vault/vault.ts'

const lookEveryMs = 1_000

/** Tells when the vault has no room any more, and when it has again, until `signal` aborts. */
export async function tellStalls(vault: Vault, clock: Clock, tell: Tell, signal: AbortSignal): Promise<void> {
  for (let stalled = false; ;) {
    await clock.sleep(lookEveryMs, signal).catch(() => undefined)
    if (signal.aborted) return
    if (stalled === vault.stalled) continue
    stalled = vault.stalled
    if (!stalled) {
      tell('there is room again: what the agents have kept is being stored')
      continue
    }
    const error = new TidemarkError('vault-full', {
      message: 'the file system of the vault is full: nothing is acknowledged',
      hint: 'make room on it; it goes on by itself',
    })
    tell(error.message, { error })
  }
}
