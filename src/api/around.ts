import { z } from 'zod'
import { isoMoment, sequenceNumber } from './schemas.ts'

/** What a moment holds. Each list is the nearest first. */
export const aroundRequest = z.object({
  at: z.string().describe('a POINT'),
  limit: z.coerce.number().int().min(1).max(200).default(10),
})

export const transactionRow = z.object({
  kind: z.enum(['commit', 'commit-prepared', 'prepare', 'restore-point']),
  moment: isoMoment.describe("by the server's clock"),
  xid: z.int().optional(),
  lsn: z.string().describe('where its record starts'),
  end: z.string().describe('where its record ends'),
  timeline: z.int(),
  database: z.string().optional().describe('its oid'),
  subtransactions: z.int().optional(),
  bytes: z.int().optional().describe('WAL since the row before it in the log; absent for the first that is known'),
  name: z.string().optional().describe('of a restore point or a prepared transaction'),
  at: z.string().describe('the POINT just after it'),
  before: z.string().describe('the POINT just before it'),
})
export type TransactionRow = z.infer<typeof transactionRow>

/** Commits, prepared transactions and restore points of a PostgreSQL source, as they follow one another in its log. */
export const transactionsRequest = z.object({
  from: z.string().optional().describe('a moment or lsn:X/Y; from the first that is not earlier'),
  to: z.string().optional().describe('a moment, lsn:X/Y or before:lsn:X/Y; up to the last before one that is later'),
  limit: z.coerce.number().int().min(1).max(5_000).default(200),
  order: z
    .enum(['newest', 'oldest'])
    .default('newest')
    .describe('which end comes first, and is told where there are more'),
  timeline: z.coerce.number().int().min(1).max(0xffff_ffff).optional().describe('of a branch that was left'),
})
export const transactionsAnswer = z.object({
  transactions: z.array(transactionRow).max(5_000),
  more: z.boolean().describe('there are others in the span: ask again, up to "before" of the last or from its "at"'),
})
export type TransactionsAnswer = z.infer<typeof transactionsAnswer>

export const fileRow = z.object({
  path: z.string(),
  pathBytes: z.base64().optional(),
  event: z.enum(['version', 'removed']),
  type: z.string(),
  moment: isoMoment,
  sequence: sequenceNumber,
  bytes: z.int().optional().describe('size of a version'),
})

const markRow = z.object({ label: z.string(), moment: isoMoment, sequence: sequenceNumber })
const flushRow = z.object({ moment: isoMoment, sequence: sequenceNumber })

export const aroundAnswer = z.object({
  sequence: sequenceNumber,
  moment: isoMoment.describe('of the last change at or before the point: what a restore gets'),
  settled: z.boolean(),
  suspect: z.string().optional(),
  transactionsBefore: z.array(transactionRow).max(200).describe('kind postgres: what a restore of the point ends with'),
  transactionsAfter: z.array(transactionRow).max(200).describe('the first that it would not have'),
  transactionsMissing: z.string().optional().describe('why none can be told'),
  filesBefore: z.array(fileRow).max(200).describe('kind files'),
  filesAfter: z.array(fileRow).max(200),
  flushBefore: flushRow.nullable().describe('kind volume'),
  flushAfter: flushRow.nullable(),
  marksBefore: z.array(markRow).max(200),
  marksAfter: z.array(markRow).max(200),
})
export type AroundAnswer = z.infer<typeof aroundAnswer>

/**
 * Names that contain a text, whenever they were there; lines of JSON, those that began (`gone`: ended) last first. A name that is saved
 * again and again is told once for as long as it was there without a break. The last line tells from where to go on.
 */
export const searchRequest = z.object({
  name: z.string().min(1).max(255).describe('part of a file name, without regard to case'),
  path: z.string().optional().describe('below this directory'),
  pathBytes: z.base64().optional(),
  gone: z.stringbool().default(false).describe('only what was removed or renamed, the last first'),
  limit: z.coerce.number().int().min(1).max(10_000).default(200),
  cursor: z
    .string()
    .regex(/^\d{1,16}-\d{1,16}$/)
    .optional()
    .describe('"next" of the answer before'),
})
export const searchRow = z.object({
  path: z.string(),
  pathBytes: z.base64().optional(),
  type: z.string(),
  since: isoMoment,
  sinceSequence: sequenceNumber,
  until: isoMoment.nullable().describe('when it was removed or renamed; null while it is there'),
  untilSequence: sequenceNumber.nullable().describe('it was last there at the point before'),
  bytes: z.int().describe('of its last version'),
})
export type SearchRow = z.infer<typeof searchRow>
export const searchEnd = z.object({
  names: z.int().describe('looked through'),
  next: z.string().nullable().describe('null where all were looked through'),
})
export const searchLine = z.union([searchRow, searchEnd])

export const archiveFormats = ['zip', 'tar'] as const

/** A directory or file of a point, as other programs unpack it. */
export const archiveRequest = z.object({
  at: z.string().default('latest').describe('a POINT'),
  path: z.string().optional().describe('absent: all of the source'),
  pathBytes: z.base64().optional(),
  format: z.enum(archiveFormats).default('zip').describe('zip for a PC; tar keeps owners, times and hard links'),
})
