import * as z from 'zod'
import { unreachable } from '../base/assert.ts'
import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import { bandwidthLimits } from '../api/tasks.ts'
import type { BandwidthLimit } from '../model/bandwidth.ts'
import { cursorBytesMax } from '../model/batch.ts'
import { type ChunkId, chunkIdBytes } from '../model/change.ts'
import { type Moment, moment } from '../model/moment.ts'
import { type CaptureReport, problemsMax } from '../model/report.ts'
import { type Sequence, sequence } from '../model/sequence.ts'
import { type Id, isId, namePattern, type SourceDefinition, sourceKinds } from '../model/source.ts'
import { type Frame, frameParts } from './frames.ts'
import { type TaskOrder, taskOrder, type TaskReport, taskReport, taskReportBytesMax } from './orders.ts'

/**
 * The messages of the link, protocol versions 1 and 2: which frame type each is, its payload, and who may send it.
 * JSON payloads are UTF-8; fields that a reader does not know are ignored. Told at length in docs/protocols/link.md.
 *
 *    1 hello         A→V  JSON          2 welcome       V→A  JSON          3 refuse      both  JSON, then close
 *    4 ping          both u64 moment    5 pong          both u64 moment of the ping, u64 own moment
 *   16 offer         A→V  u64 tag, 32 bytes per chunk id                  17 block       A→V  format/block.ts
 *   18 batch         A→V  format/batch.ts                                 19 report      A→V  JSON
 *   20 marked        A→V  u64 tag, u64 sequence
 *   32 need          V→A  u64 tag, u32 count, bitmap (bit 0 of byte 0 first, 1: send it)
 *   33 acknowledged  V→A  u64 sequence                                    34 stalled     V→A  empty
 *   35 going-on      V→A  empty                                           36 mark        V→A  JSON
 *   37 reconcile     V→A  empty                                           38 definitions V→A  JSON
 *
 * Of version 2, on control connections:
 *   21 task-report   A→V  JSON          39 task          V→A  JSON          40 task-cancel   V→A  JSON
 *   41 limits        V→A  JSON
 */
export const protocolVersions: readonly number[] = [1, 2]
/** Below it an agent takes no tasks. */
export const orderVersionMin = 2

export type Message =
  | ({ kind: 'hello' } & Hello)
  | ({ kind: 'welcome' } & Welcome)
  | { kind: 'refuse'; code: string; message: string; hint?: string | undefined }
  | { kind: 'ping'; now: Moment }
  | { kind: 'pong'; asked: Moment; now: Moment }
  | { kind: 'offer'; tag: number; ids: readonly ChunkId[] }
  | { kind: 'block'; bytes: Uint8Array }
  | { kind: 'batch'; bytes: Uint8Array }
  | { kind: 'report'; report: CaptureReport; now: Moment }
  | { kind: 'marked'; tag: number; sequence: Sequence }
  | { kind: 'need'; tag: number; missing: readonly boolean[] }
  | { kind: 'acknowledged'; durable: Sequence }
  | { kind: 'stalled' }
  | { kind: 'going-on' }
  | { kind: 'mark'; tag: number; label: string }
  | { kind: 'reconcile' }
  | { kind: 'definitions'; sources: readonly SourceDefinition[] }
  | ({ kind: 'task' } & TaskOrder)
  | { kind: 'task-cancel'; id: Id; run: number }
  | { kind: 'task-report'; report: TaskReport }
  | { kind: 'limits'; limits: readonly BandwidthLimit[] }

export interface Hello {
  /** Protocol versions that the agent speaks. */
  readonly versions: readonly number[]
  readonly software: string
  /** The agent's clock. */
  readonly now: Moment
  /** What the connection is for: one journal, or the agent as a whole. */
  readonly role: { readonly is: 'control' } | { readonly is: 'journal'; readonly source: Id }
  /** Of a control connection, from version 2 on. */
  readonly server?: ServerAbout | undefined
}

/** What a vault cannot know of an agent's server. */
export interface ServerAbout {
  /** How far its local time is ahead of UTC. */
  readonly minutesAhead: number
  /** That are set on it; what the vault limits comes beside. */
  readonly limits: readonly BandwidthLimit[]
}

export interface Welcome {
  /** The protocol version that both speak from here on. */
  readonly version: number
  readonly software: string
  readonly vault: Id
  /** The vault's clock. */
  readonly now: Moment
  readonly limits: { readonly frameBytes: number }
  /** Of a connection for a journal: where it ends, and the key of chunk ids. */
  readonly journal?:
    | { readonly durable: Sequence; readonly cursor: Uint8Array; readonly chunkKey: Uint8Array }
    | undefined
}

const types = {
  'hello': 1,
  'welcome': 2,
  'refuse': 3,
  'ping': 4,
  'pong': 5,
  'offer': 16,
  'block': 17,
  'batch': 18,
  'report': 19,
  'marked': 20,
  'need': 32,
  'acknowledged': 33,
  'stalled': 34,
  'going-on': 35,
  'mark': 36,
  'reconcile': 37,
  'definitions': 38,
  'task-report': 21,
  'task': 39,
  'task-cancel': 40,
  'limits': 41,
} as const satisfies Record<Message['kind'], number>

const kinds = new Map<number, Message['kind']>(
  Object.entries(types).map(([kind, type]) => [type, kind as Message['kind']]),
)

export const offerIdsMax = 8192
const textCharactersMax = 4096
const sourcesMax = 4096
const pathsMax = 4096

const text = z.string().max(textCharactersMax)
const momentSchema = z.int().nonnegative().transform(moment)
const sequenceSchema = z.int().nonnegative().transform(sequence)
const idSchema = z.string().refine(isId)
const base64 = z
  .base64()
  .max(cursorBytesMax * 2)
  .transform((encoded): Uint8Array => Buffer.from(encoded, 'base64'))

const helloSchema = z.object({
  versions: z.array(z.int()).min(1).max(64),
  software: text,
  now: momentSchema,
  role: z.discriminatedUnion('is', [
    z.object({ is: z.literal('control') }),
    z.object({ is: z.literal('journal'), source: idSchema }),
  ]),
  server: z.object({ minutesAhead: z.int().min(-1440).max(1440), limits: bandwidthLimits }).optional(),
})

const welcomeSchema = z.object({
  version: z.int(),
  software: text,
  vault: idSchema,
  now: momentSchema,
  limits: z.object({ frameBytes: z.int().positive() }),
  journal: z.object({ durable: sequenceSchema, cursor: base64, chunkKey: base64 }).optional(),
})

const refuseSchema = z.object({ code: text, message: text, hint: text.optional() })

const problemSchema = z.object({ code: text, message: text, hint: text.optional() })
const count = z.number().nonnegative()
const reportSchema = z.object({
  now: momentSchema,
  report: z.object({
    state: z.enum(['starting', 'baseline', 'reconciling', 'live', 'vanished', 'paused']),
    covered: momentSchema,
    upTo: sequenceSchema,
    dirty: count,
    backlogBytes: z.int().min(0).optional(),
    uncapturedBytes: z.int().min(0).optional(),
    hintsLost: z.int().min(0).optional(),
    compared: momentSchema.optional(),
    progress: z.object({ files: count, filesTotal: count, bytes: count, bytesTotal: count }).optional(),
    watching: text,
    problems: z.array(problemSchema).max(problemsMax),
  }),
})

const markSchema = z.object({ tag: z.int().nonnegative(), label: z.string().max(1024) })

/** A source, as the vault tells it to its agent and as the agent remembers it. */
export const sourceDefinitionSchema = z.object({
  id: idSchema,
  name: z.string().regex(namePattern),
  kind: z.enum(sourceKinds),
  agent: idSchema,
  system: z.string().regex(namePattern).optional(),
  paths: z.array(z.string().max(textCharactersMax)).max(pathsMax),
  exclude: z.array(z.string().max(textCharactersMax)).max(pathsMax),
  postgres: z
    .object({
      url: z.string().max(textCharactersMax),
      baselineMs: count,
      baselineBytesPerSecond: count.optional(),
      walKeptBytesMax: count,
      zeroLoss: z.object({ degradeMs: count.optional() }).optional(),
    })
    .optional(),
  volume: z
    .object({
      backing: z.string().max(textCharactersMax),
      bytes: count.optional(),
      logBytesMax: count,
      listen: z.string().max(textCharactersMax).optional(),
      zeroLoss: z.object({ degradeMs: count.optional() }).optional(),
    })
    .optional(),
  policy: z.object({ windowMs: count, reconcileMs: count, lagMsMax: count }),
  paused: z.boolean(),
})

const cancelSchema = z.object({ id: idSchema, run: z.int().min(1) })

const limitsSchema = z.object({ limits: bandwidthLimits })

const definitionsSchema = z.object({ sources: z.array(sourceDefinitionSchema).max(sourcesMax) })

/** The parts to send for a message; bytes of blocks and batches are not copied. */
export const messageParts = (message: Message): Uint8Array[] => frameParts(types[message.kind], payloadOf(message))

function payloadOf(message: Message): Uint8Array {
  switch (message.kind) {
    case 'hello':
      return json({ ...message, kind: undefined })
    case 'welcome':
      return json({ ...message, kind: undefined, journal: message.journal && journalJson(message.journal) })
    case 'refuse':
      return json({ code: message.code, message: short(message.message), hint: message.hint && short(message.hint) })
    case 'ping':
      return new ByteWriter(8).u64(message.now).finish()
    case 'pong':
      return new ByteWriter(16).u64(message.asked).u64(message.now).finish()
    case 'offer':
      return new ByteWriter(8 + message.ids.length * chunkIdBytes)
        .u64(message.tag)
        .raw(Buffer.from(message.ids.join(''), 'latin1'))
        .finish()
    case 'block':
    case 'batch':
      return message.bytes
    case 'report':
      return json({ report: withinLimits(message.report), now: message.now })
    case 'marked':
      return new ByteWriter(16).u64(message.tag).u64(message.sequence).finish()
    case 'need':
      return needPayload(message.tag, message.missing)
    case 'acknowledged':
      return new ByteWriter(8).u64(message.durable).finish()
    case 'mark':
      return json({ tag: message.tag, label: message.label })
    case 'definitions':
      return json({ sources: message.sources })
    case 'task':
      return json({ id: message.id, run: message.run, logged: message.logged, work: message.work })
    case 'task-cancel':
      return json({ id: message.id, run: message.run })
    case 'task-report':
      return json(message.report)
    case 'limits':
      return json({ limits: message.limits })
    case 'stalled':
    case 'going-on':
    case 'reconcile':
      return Buffer.alloc(0)
    default:
      return unreachable(message)
  }
}

/** The message of a frame; `Malformed` where it is none. */
export function readMessage({ type, payload }: Frame): Message {
  const kind = kinds.get(type)
  const reader = new ByteReader(payload)
  const end = <T>(message: T): T => {
    reader.end()
    return message
  }
  switch (kind) {
    case 'hello':
      return { kind, ...parsed(helloSchema, payload) }
    case 'welcome':
      return { kind, ...parsed(welcomeSchema, payload) }
    case 'refuse':
      return { kind, ...parsed(refuseSchema, payload) }
    case 'ping':
      return end({ kind, now: moment(reader.u64()) })
    case 'pong':
      return end({ kind, asked: moment(reader.u64()), now: moment(reader.u64()) })
    case 'offer':
      return { kind, tag: reader.u64(), ids: readIds(reader) }
    case 'block':
    case 'batch':
      return { kind, bytes: payload }
    case 'report':
      return { kind, ...(parsed(reportSchema, payload) as { now: Moment; report: CaptureReport }) }
    case 'marked':
      return end({ kind, tag: reader.u64(), sequence: sequence(reader.u64()) })
    case 'need':
      return { kind, tag: reader.u64(), missing: readBitmap(reader) }
    case 'acknowledged':
      return end({ kind, durable: sequence(reader.u64()) })
    case 'mark':
      return { kind, ...parsed(markSchema, payload) }
    case 'definitions':
      return { kind, ...parsed(definitionsSchema, payload) }
    case 'task':
      return { kind, ...parsed(taskOrder, payload) }
    case 'task-cancel':
      return { kind, ...parsed(cancelSchema, payload) }
    case 'limits':
      return { kind, ...parsed(limitsSchema, payload) }
    case 'task-report':
      if (payload.length > taskReportBytesMax) throw new Malformed(`task-report of ${payload.length} bytes`)
      return { kind, report: parsed(taskReport, payload) }
    case 'stalled':
    case 'going-on':
    case 'reconcile':
      return end({ kind })
    case undefined:
      throw new Malformed(`message type ${type}`)
    default:
      return unreachable(kind)
  }
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value), 'utf8')

const short = (sentence: string): string => sentence.slice(0, textCharactersMax)

const journalJson = (journal: NonNullable<Welcome['journal']>): unknown => ({
  durable: journal.durable,
  cursor: Buffer.from(journal.cursor).toString('base64'),
  chunkKey: Buffer.from(journal.chunkKey).toString('base64'),
})

const withinLimits = (report: CaptureReport): CaptureReport => ({
  ...report,
  problems: report.problems.slice(-problemsMax).map(({ code, message, hint }) => ({
    code,
    message: short(message),
    ...(hint === undefined ? {} : { hint: short(hint) }),
  })),
})

function parsed<T>(schema: z.ZodType<T>, payload: Buffer): T {
  let value: unknown
  try {
    value = JSON.parse(payload.toString('utf8'))
  } catch (error) {
    throw new Malformed(`message is not JSON: ${error instanceof Error ? error.message : error}`)
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new Malformed(`message field ${issue?.path.join('.') || '(all)'}: ${issue?.message}`)
}

function readIds(reader: ByteReader): ChunkId[] {
  const ids = reader.remaining / chunkIdBytes
  if (!Number.isInteger(ids) || ids < 1 || ids > offerIdsMax) throw new Malformed(`offer of ${ids} ids`)
  return Array.from({ length: ids }, () => reader.raw(chunkIdBytes).toString('latin1') as ChunkId)
}

function needPayload(tag: number, missing: readonly boolean[]): Buffer {
  const bitmap = Buffer.alloc(Math.ceil(missing.length / 8))
  for (const [index, isMissing] of missing.entries()) {
    const byte = index >> 3
    if (isMissing) bitmap[byte] = (bitmap[byte] as number) | (1 << (index & 7))
  }
  return new ByteWriter(12 + bitmap.length).u64(tag).u32(missing.length).raw(bitmap).finish()
}

function readBitmap(reader: ByteReader): boolean[] {
  const length = reader.u32()
  if (length > offerIdsMax) throw new Malformed(`need of ${length} ids`)
  const bitmap = reader.raw(Math.ceil(length / 8))
  reader.end()
  return Array.from({ length }, (_, index) => ((bitmap[index >> 3] as number) & (1 << (index & 7))) !== 0)
}
