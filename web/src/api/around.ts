import { useQueries } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import type { AroundAnswer } from '../../../src/api/around.ts'
import type { ResolvedPointAnswer } from '../../../src/api/schemas.ts'
import type { PlacedSource } from '../live/systems.ts'
import { get, vaultPath, withQuery } from './client.ts'

const askAgainMs = 3_000
const restMs = 150

export const sourcePath = (vault: string, source: string, path: string): string =>
  vaultPath(vault, `/sources/${encodeURIComponent(source)}${path}`)

export interface Around {
  readonly placed: PlacedSource
  readonly point: string
  readonly gets: ResolvedPointAnswer | undefined
  /** Undefined for who may not look at contents, too. */
  readonly near: AroundAnswer | undefined
  readonly isLoading: boolean
  readonly failure: Error | null
}

/** What a moment holds of each source; `pointOf` gives the POINT of each. Who may not look at contents is told the points alone. */
export function useAround(
  sources: readonly PlacedSource[],
  pointOf: (placed: PlacedSource) => string,
  limit: number,
  mayLook: boolean,
): Around[] {
  const isAtRest = useIsAtRest(sources.map(pointOf).join(' '))
  const answers = useQueries({
    queries: sources.map((placed) => {
      const { vault, source } = placed
      const at = pointOf(placed)
      return {
        queryKey: ['around', vault.id, source.id, at, limit, mayLook],
        queryFn: ({ signal }: { signal: AbortSignal }) =>
          mayLook
            ? get<AroundAnswer>(withQuery(sourcePath(vault.id, source.id, '/around'), { at, limit }), signal)
            : get<ResolvedPointAnswer>(withQuery(sourcePath(vault.id, source.id, '/point'), { at }), signal),
        // The newest moment moves on with each change.
        refetchInterval: at === 'latest' ? askAgainMs : false,
        enabled: source.earliest !== null && isAtRest,
      }
    }),
  })
  return sources.map((placed, index) => ({
    placed,
    point: pointOf(placed),
    gets: answers[index]?.data,
    near: isNear(answers[index]?.data) ? answers[index].data : undefined,
    isLoading: answers[index]?.isFetching ?? false,
    failure: answers[index]?.error ?? null,
  }))
}

/** A moment that is only passed by, with a key held down, is not asked about. */
function useIsAtRest(points: string): boolean {
  const [rested, setRested] = useState(points)
  useEffect(() => {
    const timer = window.setTimeout(() => setRested(points), restMs)
    return () => window.clearTimeout(timer)
  }, [points])
  return rested === points
}

const isNear = (answer: AroundAnswer | ResolvedPointAnswer | undefined): answer is AroundAnswer =>
  answer !== undefined && 'filesBefore' in answer
