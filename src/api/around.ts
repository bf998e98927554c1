import { z } from 'zod'
import { isoMoment, sequenceNumber } from './schemas.ts'

/** What a moment holds. Each list is the nearest first. */
export const aroundRequest = z.object({
  at: z.string().describe('a POINT'),
  limit: z.coerce.number().int().min(1).max(200).default(10),
})

export const transactionRow = z.object({
  kind: z.enum(['commit', 'commit-prepared', 'prepare', 'restore-point']),
  moment: isoMoment,
  xid: z.int().optional(),
  lsn: z.string(),
  database: z.string().optional(),
  bytes: z.int().optional(),
  name: z.string().optional(),
  at: z.string().describe('the POINT just after it'),
  before: z.string().describe('the POINT just before it'),
})

export const fileRow = z.object({
  path: z.string(),
  pathBytes: z.base64().optional(),
  event: z.enum(['version', 'removed']),
  moment: isoMoment,
  sequence: sequenceNumber,
  bytes: z.int().optional(),
})

export const aroundAnswer = z.object({
  sequence: sequenceNumber,
  moment: isoMoment.describe('of the last change at or before the point: what a restore gets'),
  settled: z.boolean(),
  suspect: z.string().optional(),
  transactionsBefore: z.array(transactionRow).max(200),
  transactionsAfter: z.array(transactionRow).max(200),
  filesBefore: z.array(fileRow).max(200),
  filesAfter: z.array(fileRow).max(200),
  flushBefore: isoMoment.nullable(),
  flushAfter: isoMoment.nullable(),
  marksBefore: z.array(z.object({ label: z.string(), moment: isoMoment, sequence: sequenceNumber })).max(200),
})
export type AroundAnswer = z.infer<typeof aroundAnswer>

/** Names that contain a text, whenever they were there; lines of JSON, newest first. */
export const searchRequest = z.object({
  name: z.string().min(1).max(255).describe('part of a file name, without regard to case'),
  path: z.string().optional().describe('below this directory'),
  limit: z.coerce.number().int().min(1).max(10_000).default(200),
})
export const searchRow = z.object({
  path: z.string(),
  pathBytes: z.base64().optional(),
  type: z.string(),
  since: isoMoment,
  sinceSequence: sequenceNumber,
  until: isoMoment.nullable().describe('when it was removed or renamed; null while it is there'),
  untilSequence: sequenceNumber.nullable(),
  bytes: z.int(),
})
export type SearchRow = z.infer<typeof searchRow>

export const archiveFormats = ['zip', 'tar'] as const
