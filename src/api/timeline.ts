import { z } from 'zod'
import { isoMoment, sequenceNumber } from './schemas.ts'

/** A source's past as a track on a time axis, at any zoom. */

export const columnsMax = 4_000
export const spansMax = 1_000

export const timelineRequest = z.object({
  from: isoMoment,
  to: isoMoment,
  columns: z.coerce.number().int().min(1).max(columnsMax).default(1000),
})

/** `baseline` and `suspect`: the tree may be behind; `hole`: changes were not kept one by one; `verified`: read back and found good. */
export const timelineSpan = z.object({
  kind: z.enum(['baseline', 'suspect', 'hole', 'unprotected', 'verified', 'failed']),
  from: isoMoment,
  to: isoMoment,
  fromSequence: sequenceNumber,
  toSequence: sequenceNumber,
  reason: z.string(),
})
export type TimelineSpan = z.infer<typeof timelineSpan>

export const timelineMark = z.object({
  label: z.string(),
  moment: isoMoment,
  sequence: sequenceNumber,
})

export const timelineAnswer = z.object({
  from: isoMoment,
  to: isoMoment,
  earliest: isoMoment.nullable().describe('first moment that can be restored'),
  latest: isoMoment.nullable(),
  changes: z.array(z.int()).describe('in each column'),
  bytes: z.array(z.int()).describe('in each column'),
  spans: z.array(timelineSpan).max(spansMax),
  marks: z.array(timelineMark).max(spansMax),
  more: z.boolean().describe('there are more spans or marks than are told: look nearer'),
})
export type TimelineAnswer = z.infer<typeof timelineAnswer>

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
  marksBefore: z.array(timelineMark).max(200),
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
