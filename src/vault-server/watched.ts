import type { Reason, Watched } from '../monitoring/watched.ts'
import { softwareVersion } from '../wire/software.ts'
import type { Context } from './context.ts'
import type { VaultMetrics } from './metrics.ts'

/** A vault does its work while it can append. How each source does is told by its state and lag, not by the vault's. */
export const watchedVault = (context: Context, metrics: VaultMetrics): Watched => ({
  identity: () => ({ process: 'vault', name: context.vault.name, version: softwareVersion }),
  metrics: () => metrics.tell(context),
  reasons: () => reasons(context),
})

async function reasons({ vault, space }: Context): Promise<Reason[]> {
  if (!vault.stalled) return []
  const free = await space.freeBytes()
  return [
    {
      code: 'vault-full',
      message: `the file system of the vault is full (${free} bytes are free): nothing is acknowledged`,
      hint: 'make room on it; it goes on by itself',
    },
  ]
}
