import { useQueries } from '@tanstack/react-query'
import type { StripsAnswer } from '../../../src/api/measures.ts'
import { get, vaultPath, withQuery } from '../api/client.ts'
import { useLive } from '../live/live.tsx'
import type { System } from '../live/systems.ts'
import { lastDay, lastDayFromMs, stepMs } from './strip-colours.ts'

const dayMs = 86_400_000
const askAgainMs = 60_000

export interface Strips {
  /** Where the first step begins; undefined before anything has been told. */
  readonly fromMs: number | undefined
  readonly stepMs: number
  /** Of each source, by vault and id. */
  readonly sources: ReadonlyMap<string, string>
}

/** The lag of every source in the last 24 hours, as the vaults measured it, in steps of five minutes. */
export function useStrips(): Strips {
  const entries = [...useLive().vaults.values()].map(({ entry }) => entry).filter(({ connected }) => connected)
  return useQueries({
    queries: entries.map(({ id }) => ({
      queryKey: ['strips', id],
      queryFn: ({ signal }: { signal: AbortSignal }) => get<StripsAnswer>(stripsPath(id), signal),
      refetchInterval: askAgainMs,
      staleTime: askAgainMs,
    })),
    combine: (answers) => {
      const nowMs = Date.now()
      const told = answers.flatMap(({ data }, at) => {
        const vault = entries[at]?.id
        return data === undefined || vault === undefined ? [] : [{ vault, fromMs: Date.parse(data.from), data }]
      })
      return {
        fromMs: told[0] && lastDayFromMs(told[0].fromMs, nowMs),
        stepMs,
        sources: new Map(
          told.flatMap(({ vault, fromMs, data }) =>
            data.sources.map(({ id, strip }) => [`${vault} ${id}`, lastDay(strip, fromMs, nowMs)]),
          ),
        ),
      }
    },
  })
}

/** Those of the system's sources, with spaces between. */
export const stripsOf = (system: System, { sources }: Strips): string =>
  system.sources.flatMap(({ vault, source }) => sources.get(`${vault.id} ${source.id}`) ?? []).join(' ')

function stripsPath(vault: string): string {
  const to = Math.ceil(Date.now() / stepMs) * stepMs
  return vaultPath(vault, withQuery('/measures', { from: iso(to - dayMs), to: iso(to), step: 'five-minutes' }))
}

/** The API's moments have microseconds. */
const iso = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z')
