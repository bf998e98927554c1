import { keepPreviousData, useQueries } from '@tanstack/react-query'
import type { AroundAnswer } from '../../../src/api/around.ts'
import type { PlacedSource } from '../live/systems.ts'
import { get, vaultPath, withQuery } from './client.ts'

export const sourcePath = (vault: string, source: string, path: string): string =>
  vaultPath(vault, `/sources/${encodeURIComponent(source)}${path}`)

export interface Around {
  readonly placed: PlacedSource
  readonly point: string
  readonly answer: AroundAnswer | undefined
  readonly isLoading: boolean
  readonly failure: Error | null
}

/** What a moment holds of each source; `pointOf` gives the POINT of each. */
export function useAround(
  sources: readonly PlacedSource[],
  pointOf: (placed: PlacedSource) => string,
  limit: number,
): Around[] {
  const answers = useQueries({
    queries: sources.map((placed) => {
      const { vault, source } = placed
      const at = pointOf(placed)
      return {
        // The newest moment moves on with each change.
        queryKey: ['around', vault.id, source.id, at, limit, at === 'latest' ? source.sequence : ''],
        queryFn: ({ signal }: { signal: AbortSignal }) =>
          get<AroundAnswer>(withQuery(sourcePath(vault.id, source.id, '/around'), { at, limit }), signal),
        placeholderData: keepPreviousData,
        enabled: source.earliest !== null,
      }
    }),
  })
  return sources.map((placed, index) => ({
    placed,
    point: pointOf(placed),
    answer: answers[index]?.data,
    isLoading: answers[index]?.isFetching ?? false,
    failure: answers[index]?.error ?? null,
  }))
}
