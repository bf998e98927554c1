import { useQuery } from '@tanstack/react-query'
import type { z } from 'zod'
import type { sites } from '../../../src/api/console.ts'
import { get } from './client.ts'

/** Where vaults and servers stand. */
export type Sites = z.infer<typeof sites>

export const sitesKey = ['sites'] as const
const nowhere: Sites = { vaults: {}, agents: {} }

export const useSites = (): Sites =>
  useQuery({ queryKey: sitesKey, queryFn: ({ signal }) => get<Sites>('/sites', signal) }).data ?? nowhere
