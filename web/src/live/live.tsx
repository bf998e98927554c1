import { useQueryClient } from '@tanstack/react-query'
import { createContext, type ReactNode, use, useEffect, useState, useSyncExternalStore } from 'react'
import { useMay, useSession } from '../api/session.ts'
import type { LiveState } from './state.ts'
import { LiveStore } from './store.ts'

const context = createContext<LiveStore | null>(null)

/** Opens the one stream of live events for what is below it, where the role may see any. */
export function Live({ children }: { children: ReactNode }): ReactNode {
  const queries = useQueryClient()
  const session = useSession()
  const [store] = useState(() => new LiveStore(() => void session.ask()))
  const isOpen = useMay()('see')
  useEffect(() => {
    if (!isOpen) return undefined
    store.open()
    const off = store.onVaultEvent((vault, event) => {
      if (event.kind === 'agents') void queries.invalidateQueries({ queryKey: ['agents', vault] })
      if (event.kind === 'task') void queries.invalidateQueries({ queryKey: ['tasks', vault] })
    })
    return () => {
      off()
      store.close()
    }
  }, [store, queries, isOpen])
  return <context.Provider value={store}>{children}</context.Provider>
}

export function useLive(): LiveState {
  const store = use(context)
  if (store === null) throw new Error('useLive outside of Live')
  return useSyncExternalStore(store.subscribe, store.state)
}

/** The time by the console's clock, every `everyMs`. */
export function useNow(everyMs = 1_000): number {
  const { clockAheadMs } = useLive()
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), everyMs)
    return () => window.clearInterval(timer)
  }, [everyMs])
  return now + clockAheadMs
}
