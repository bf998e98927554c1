import { useQuery } from '@tanstack/react-query'
import type { VaultEntry } from '../../../src/api/console.ts'
import type { SpaceAnswer } from '../../../src/api/measures.ts'
import { get, vaultPath } from './client.ts'

const askAgainMs = 60_000

/** How full a vault is, and what of it each source needs. */
export function useSpace(vault: VaultEntry): {
  space: SpaceAnswer | undefined
  failure: Error | null
  again: () => void
} {
  const { data, error, refetch } = useQuery({
    queryKey: ['space', vault.id],
    queryFn: ({ signal }) => get<SpaceAnswer>(vaultPath(vault.id, '/space'), signal),
    refetchInterval: askAgainMs,
    enabled: vault.connected,
  })
  return { space: data, failure: error, again: () => void refetch() }
}
