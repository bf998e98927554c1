import { useQueries } from '@tanstack/react-query'
import type { AgentDetails } from '../../../src/api/tasks.ts'
import type { VaultEntry } from '../../../src/api/console.ts'
import { useLive } from '../live/live.tsx'
import { get, vaultPath } from './client.ts'

/** How often what the live stream does not tell is asked for again, while it is looked at. */
const askAgainMs = 5_000

export interface PlacedAgent {
  readonly vault: VaultEntry
  readonly agent: AgentDetails
}

export interface Asked<T> {
  readonly rows: readonly T[]
  readonly isLoading: boolean
  /** Of the first vault that could not be asked. */
  readonly failure: Error | null
  readonly again: () => void
}

/** The agents of every vault. */
export function useAgents(): Asked<PlacedAgent> {
  const entries = [...useLive().vaults.values()].map(({ entry }) => entry)
  return useQueries({
    queries: entries.map((vault) => ({
      queryKey: ['agents', vault.id],
      queryFn: ({ signal }: { signal: AbortSignal }) => get<AgentDetails[]>(vaultPath(vault.id, '/agents'), signal),
      refetchInterval: askAgainMs,
      enabled: vault.connected,
    })),
    combine: (answers) => ({
      rows: answers.flatMap(({ data }, at) => {
        const vault = entries[at]
        return vault === undefined ? [] : (data ?? []).map((agent) => ({ vault, agent }))
      }),
      isLoading: answers.some(({ isLoading }) => isLoading),
      failure: answers.find(({ error }) => error !== null)?.error ?? null,
      again: () => {
        for (const { refetch } of answers) void refetch()
      },
    }),
  })
}
