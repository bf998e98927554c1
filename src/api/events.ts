import { z } from 'zod'
import { sourceStatus, vaultStatus } from './schemas.ts'

/**
 * What `GET /v1/events` tells, a line of JSON each: first `vault`, then what has changed. Within 1 s of the change, never more
 * often than twice a second; what changed several times meanwhile is told once, as it is now.
 */
export const vaultEvent = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('vault'), vault: vaultStatus }).describe('everything; replaces what was told before'),
  z.object({ kind: z.literal('source'), source: sourceStatus }),
  z.object({ kind: z.literal('source-gone'), id: z.string() }),
  z.object({
    kind: z.literal('space'),
    now: z.string(),
    stalled: z.boolean(),
    freeBytes: z.int(),
    storedBytes: z.int(),
  }),
  z.object({ kind: z.literal('agents') }).describe('the list of agents has changed: ask for it'),
  z.object({ kind: z.literal('task'), id: z.string() }).describe('a task has changed: ask for it'),
  z.object({ kind: z.literal('heartbeat'), now: z.string() }).describe('after 5 s of silence'),
])
export type VaultEvent = z.infer<typeof vaultEvent>

export const eventsAtMostEveryMs = 500
export const heartbeatMs = 5_000
