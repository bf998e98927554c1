import { type QueryClient, useQuery, useQueryClient } from '@tanstack/react-query'
import type { Action, Me } from '../../../src/api/console.ts'
import { ApiFailure, get, request, keepCsrfOf } from './client.ts'

const meKey = ['me'] as const

/** Who is signed in: null for nobody. */
export function useMe(): { me: Me | null | undefined; failure: Error | null; again: () => void } {
  const { data, error, refetch } = useQuery({
    queryKey: meKey,
    queryFn: ({ signal }) => askMe(signal),
    staleTime: Infinity,
  })
  return { me: data, failure: error, again: () => void refetch() }
}

/** Whether the role of who is signed in may do `action`; absent: what anybody may. What may not be done is not offered. */
export function useMay(): (action: Action | undefined) => boolean {
  const { me } = useMe()
  return (action) => me != null && (action === undefined || me.actions.includes(action))
}

export function useSession(): { enter: (me: Me) => void; leave: () => Promise<void>; ask: () => Promise<void> } {
  const queries = useQueryClient()
  return {
    enter: (me) => takeMe(queries, me),
    leave: async () => {
      await request('POST', '/sign-out')
      forget(queries)
    },
    ask: () => queries.invalidateQueries({ queryKey: meKey }),
  }
}

/** What anything is refused with once the session has ended, by its age or by somebody. */
export const sessionEnded = (error: unknown): boolean => error instanceof ApiFailure && error.code === 'sign-in-needed'

/** The session is over: what was read in it goes too. */
export function forget(queries: QueryClient): void {
  queries.clear()
  takeMe(queries, null)
}

function takeMe(queries: QueryClient, me: Me | null): void {
  keepCsrfOf(me)
  queries.setQueryData(meKey, me)
}

async function askMe(signal: AbortSignal): Promise<Me | null> {
  try {
    const me = await get<Me | null>('/me', signal)
    keepCsrfOf(me)
    return me
  } catch (error) {
    if (error instanceof ApiFailure && error.status === 401) return null
    throw error
  }
}
