import { useQueries } from '@tanstack/react-query'
import { useMemo } from 'react'
import type { HolesAnswer, PointRow, VerificationAnswer } from '../../../src/api/schemas.ts'
import { getLines, get, vaultPath, withQuery } from '../api/client.ts'
import type { PlacedSource } from '../live/systems.ts'
import { toInstant } from './instant.ts'
import { type Landmark, merged, toHoles, toLandmarks, type Verified } from './landmarks.ts'
import type { SurfaceTrack } from './surface.ts'
import { trackKey } from './vault-past.ts'

/** Marks and spans of a whole window: the newest so many of each source. */
const landmarksMax = 1000
const askAgainMs = 10_000
const nothing: never[] = []

/** What the timeline shows of sources; it changes when they do. */
export function useTracks(sources: readonly PlacedSource[]): SurfaceTrack[] {
  const landmarks = useQueries({
    queries: sources.map(({ vault, source }) => ({
      queryKey: ['landmarks', vault.id, source.id],
      queryFn: async ({ signal }: { signal: AbortSignal }): Promise<Landmark[]> =>
        toLandmarks(
          await getLines<PointRow>(
            pathOf(vault.id, source.id, '/points', { limit: landmarksMax }),
            2 * landmarksMax,
            signal,
          ),
        ),
      refetchInterval: askAgainMs,
      enabled: source.earliest !== null,
    })),
    combine: dataOf<Landmark[]>,
  })
  // Among the points they could be crowded out by marks, and one that goes on around what is shown is not told at all.
  const holes = useQueries({
    queries: sources.map(({ vault, source }) => ({
      queryKey: ['holes', vault.id, source.id],
      queryFn: async ({ signal }: { signal: AbortSignal }): Promise<Landmark[]> =>
        toHoles(await get<HolesAnswer>(pathOf(vault.id, source.id, '/holes'), signal)),
      refetchInterval: askAgainMs,
      enabled: source.earliest !== null,
    })),
    combine: dataOf<Landmark[]>,
  })
  const verified = useQueries({
    queries: sources.map(({ vault, source }) => ({
      queryKey: ['verifications', vault.id, source.id],
      queryFn: ({ signal }: { signal: AbortSignal }): Promise<Verified[]> => askVerified(vault.id, source.id, signal),
      refetchInterval: askAgainMs,
    })),
    combine: dataOf<Verified[]>,
  })
  return useMemo(
    () =>
      sources.map(({ vault, source }, index) => ({
        key: trackKey(vault.id, source.id),
        name: source.name,
        earliest: source.earliest === null ? undefined : toInstant(source.earliest),
        latest: source.moment === null ? undefined : toInstant(source.moment),
        landmarks: merged([landmarks[index] ?? nothing, holes[index] ?? nothing]),
        verified: verified[index] ?? nothing,
        hasTransactions: source.kind === 'postgres',
      })),
    [sources, landmarks, holes, verified],
  )
}

const dataOf = <T>(answers: readonly { readonly data: T | undefined }[]): (T | undefined)[] =>
  answers.map(({ data }) => data)

async function askVerified(vault: string, source: string, signal: AbortSignal): Promise<Verified[]> {
  const path = pathOf(vault, source, '/verifications', { limit: landmarksMax })
  return (await get<VerificationAnswer[]>(path, signal))
    .map(({ at, moment, good, text }) => ({ made: toInstant(at), at: toInstant(moment), isGood: good, text }))
    .sort((a, b) => a.at - b.at)
}

const pathOf = (vault: string, source: string, path: string, asked: { readonly limit?: number } = {}): string =>
  withQuery(vaultPath(vault, `/sources/${encodeURIComponent(source)}${path}`), asked)
