import { useQueries, useQuery } from '@tanstack/react-query'
import type { VaultEntry } from '../../../src/api/console.ts'
import type { TaskBody, TaskRecord } from '../../../src/api/tasks.ts'
import { useLive } from '../live/live.tsx'
import { get, request, vaultPath, withQuery } from './client.ts'

/** Beside the live stream, which says when a task has changed. */
const askAgainMs = 5_000
const runningAskAgainMs = 1_500
const listedMax = 200

export interface PlacedTask {
  readonly vault: VaultEntry
  readonly task: TaskRecord
}

export interface Tasks {
  /** The newest first, without their logs. */
  readonly rows: readonly PlacedTask[]
  readonly isLoading: boolean
  readonly failure: Error | null
  readonly again: () => void
}

export const isOpen = ({ state }: TaskRecord): boolean => state === 'waiting' || state === 'running'

/** The tasks of every vault. */
export function useTasks(): Tasks {
  const entries = [...useLive().vaults.values()].map(({ entry }) => entry)
  return useQueries({
    queries: entries.map((vault) => ({
      queryKey: ['tasks', vault.id, 'all'],
      queryFn: ({ signal }: { signal: AbortSignal }) =>
        get<TaskRecord[]>(vaultPath(vault.id, withQuery('/tasks', { limit: listedMax })), signal),
      refetchInterval: askAgainMs,
      enabled: vault.connected,
    })),
    combine: (answers) => ({
      rows: answers
        .flatMap(({ data }, at) => {
          const vault = entries[at]
          return vault === undefined ? [] : (data ?? []).map((task) => ({ vault, task }))
        })
        .toSorted((one, other) => (one.task.created < other.task.created ? 1 : -1)),
      isLoading: answers.some(({ isLoading }) => isLoading),
      failure: answers.find(({ error }) => error !== null)?.error ?? null,
      again: () => {
        for (const { refetch } of answers) void refetch()
      },
    }),
  })
}

/** One task with its log, as it goes on. */
export function useTask(vault: string | undefined, id: string | undefined) {
  return useQuery({
    queryKey: ['tasks', vault, 'one', id],
    queryFn: ({ signal }) => get<TaskRecord>(taskPath(vault ?? '', id ?? ''), signal),
    refetchInterval: ({ state: { data } }) => (data === undefined || isOpen(data) ? runningAskAgainMs : false),
    enabled: vault !== undefined && id !== undefined,
  })
}

export const beginTask = (vault: string, body: TaskBody): Promise<TaskRecord> =>
  request<TaskRecord>('POST', vaultPath(vault, '/tasks'), body)

export const cancelTask = (vault: string, id: string): Promise<unknown> =>
  request('POST', `${taskPath(vault, id)}/cancel`)
export const resumeTask = (vault: string, id: string): Promise<unknown> =>
  request('POST', `${taskPath(vault, id)}/resume`)

const taskPath = (vault: string, id: string): string => vaultPath(vault, `/tasks/${encodeURIComponent(id)}`)
