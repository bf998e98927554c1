import { useQuery } from '@tanstack/react-query'
import type { z } from 'zod'
import type { Channel, thresholdsAnswer } from '../../../src/api/console.ts'
import { get } from './client.ts'

export const thresholdsKey = ['thresholds'] as const
export const channelsKey = ['channels'] as const
/** What waits and what failed is not told live. */
const channelsEveryMs = 5_000

export const useThresholds = () =>
  useQuery({
    queryKey: thresholdsKey,
    queryFn: ({ signal }) => get<z.infer<typeof thresholdsAnswer>>('/thresholds', signal),
  })

export const useChannels = () =>
  useQuery({
    queryKey: channelsKey,
    queryFn: ({ signal }) => get<Channel[]>('/channels', signal),
    refetchInterval: channelsEveryMs,
  })
