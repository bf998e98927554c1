import { useMemo } from 'react'
import { useLive, useNow } from './live.tsx'
import { type System, systemsOf } from './systems.ts'

/** How often the age of verifications is looked at. */
const ageEveryMs = 60_000

/** Every system as it is now, the worst first. */
export function useSystems(): System[] {
  const live = useLive()
  const now = useNow(ageEveryMs)
  return useMemo(() => systemsOf(live, now), [live, now])
}
