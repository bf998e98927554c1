import { z } from 'zod'
import { holdsPassword } from '../model/postgres-url.ts'
import { namePattern, sourceKinds } from '../model/source.ts'

/**
 * The bodies of the vault's HTTP API: what the server answers and what the command line and the console read.
 * The OpenAPI document is generated from these. Moments are ISO 8601 in UTC with microseconds; sequences are numbers;
 * durations end in Ms, sizes in Bytes. A path that is not UTF-8 comes twice: readable in `path`, exact in `pathBytes`.
 */

export const identifier = z.string().regex(/^[0-9a-f]{32}$/)
export const name = z
  .string()
  .regex(namePattern, 'letters, digits, "-", "_", "." (1 to 63, beginning with one of the first two)')
export const isoMoment = z.iso.datetime({ precision: 6 }).describe('ISO 8601, UTC, microseconds')
export const sequenceNumber = z.int().min(0)

export const failure = z
  .object({
    error: z.object({
      code: z.string().describe('one of the codes of docs/operate/errors.md'),
      message: z.string(),
      hint: z.string().optional().describe('the next step'),
    }),
  })
  .describe('Why it was not done')

export const policy = z.object({
  windowMs: z.int().min(60_000).describe('how far back every single change is kept'),
  reconcileMs: z.int().min(60_000).describe('time between full comparisons with the source'),
  lagMsMax: z.int().min(1_000).describe('lag above which the source counts as late'),
})

const zeroLoss = z
  .object({
    degradeMs: z
      .int()
      .min(1_000)
      .optional()
      .describe('what waits goes on without the vault after so long; absent: never'),
  })
  .optional()

const urlCharactersMax = 4096

export const postgresSettings = z.object({
  url: z.string().min(1).max(urlCharactersMax).describe('postgres://user@host:port/database, without a password'),
  baselineMs: z.int().min(60_000).describe('time between baselines'),
  baselineBytesPerSecond: z
    .int()
    .min(32 * 1024)
    .optional()
    .describe('most bytes per second of a baseline'),
  walKeptBytesMax: z
    .int()
    .min(64 * 1024 * 1024)
    .describe('WAL kept on the server while the vault is away'),
  zeroLoss: zeroLoss.describe('a commit waits for the vault'),
})

export const volumeSettings = z.object({
  backing: z.string().startsWith('/').max(4096).describe('block device or file with the bytes'),
  bytes: z.int().min(4096).multipleOf(512).optional().describe('size; absent: what the backing has'),
  logBytesMax: z
    .int()
    .min(64 * 1024 * 1024)
    .describe('writes kept on the server while the vault is away'),
  listen: z.string().min(1).max(255).optional().describe('host:port to serve it at over TLS as well'),
  zeroLoss: zeroLoss.describe('a flush waits for the vault'),
})

/** As the link carries them: a definition that it cannot carry would keep its whole server from being told anything. */
const sourcePath = z.string().startsWith('/').max(4096)
export const excludes = z.array(z.string().min(1).max(4096)).max(1024)

/** What is asked for is told to everybody who sees the source, and to its agent. */
const postgresUrl = postgresSettings.shape.url.refine((url) => url.length > urlCharactersMax || !holdsPassword(url), {
  message:
    "holds a password, which everybody who sees the source would be told; put it into ~/.pgpass of the agent's user",
})
export const postgresChange = postgresSettings.partial().extend({ url: postgresUrl.optional() })

export const sourceRequest = z.object({
  name,
  kind: z.enum(sourceKinds),
  agent: z.string().optional().describe('name or id of the agent; an agent asking for itself leaves it out'),
  system: name.optional(),
  paths: z.array(sourcePath).max(256).default([]).describe('kind files: at least one'),
  exclude: excludes.default([]),
  postgres: postgresChange.extend({ url: postgresUrl }).optional(),
  volume: volumeSettings.partial().extend({ backing: volumeSettings.shape.backing }).optional(),
  policy: policy.partial().default({}),
})
export type SourceRequest = z.input<typeof sourceRequest>

export const problem = z.object({ code: z.string(), message: z.string(), hint: z.string().optional() })

/**
 * What a source is in, worst last. `protected`: everything up to less than the allowed lag ago is durable and indexed.
 * `baseline`, `reconciling`: the vault's tree may still be behind. `late`: lag above the policy. `offline`: its agent
 * is not connected. `vanished`: the protected path is not there. `stalled`: connected, but nothing gets durable.
 */
export const sourceState = z.enum([
  'waiting',
  'paused',
  'baseline',
  'reconciling',
  'protected',
  'late',
  'offline',
  'vanished',
  'stalled',
  'damaged',
  'retired',
])
export type SourceState = z.infer<typeof sourceState>

export const holesRequest = z.object({ from: isoMoment.optional(), to: isoMoment.optional() })
export const holeRow = z.object({
  moment: isoMoment.describe('since when changes were not kept one by one'),
  until: isoMoment.nullable().describe('null while it goes on'),
  reason: z.string(),
})
export const holesAnswer = z
  .array(holeRow)
  .max(1000)
  .describe('that lie in the span at least in part; the newest, ascending')
export type HolesAnswer = z.infer<typeof holesAnswer>

export const sourceStatus = z.object({
  id: identifier,
  name: z.string(),
  kind: z.enum(sourceKinds),
  system: z.string().optional(),
  agent: z.object({ id: identifier, name: z.string(), connected: z.boolean() }),
  paths: z.array(z.string()),
  exclude: z.array(z.string()),
  postgres: postgresSettings.optional(),
  volume: volumeSettings.optional(),
  policy,
  state: sourceState,
  lagMs: z
    .number()
    .nullable()
    .describe('age of the newest moment up to which everything is durable here; null before the first'),
  lagBytes: z.int().describe('captured and not yet durable here, as the agent tells'),
  dirty: z.int().describe('things known to have changed and not captured yet'),
  sequence: sequenceNumber.describe('last durable change'),
  moment: isoMoment.nullable().describe('moment of that change'),
  covered: isoMoment.nullable().describe('every change made before this is durable'),
  indexed: sequenceNumber.describe('up to where views can be opened at once'),
  earliest: isoMoment.nullable().describe('first moment that can be restored'),
  changesPerSecond: z.number(),
  bytesPerSecond: z.number(),
  progress: z
    .object({
      files: z.int(),
      filesTotal: z.int(),
      bytes: z.int(),
      bytesTotal: z.int(),
      secondsLeft: z.number().nullable(),
    })
    .optional(),
  compared: isoMoment.optional().describe('when everything was last begun to be compared with the source'),
  watching: z.string(),
  problems: z.array(problem),
  verified: z
    .object({
      moment: isoMoment.describe('when it ended'),
      point: isoMoment.describe('the moment that was read back'),
      good: z.boolean(),
      text: z.string(),
    })
    .nullable()
    .describe('the last verification; null before the first'),
  hole: holeRow.nullable().describe('the newest'),
})
export type SourceStatus = z.infer<typeof sourceStatus>

export const vaultStatus = z.object({
  id: identifier,
  name: z.string(),
  version: z.string(),
  now: isoMoment,
  stalled: z.boolean().describe('true while nothing is acknowledged for want of room'),
  freeBytes: z.int(),
  storedBytes: z.int(),
  damage: z.array(z.string()).describe('of packs and of the registry; damage of a journal is a problem of its source'),
  sources: z.array(sourceStatus),
})
export type VaultStatus = z.infer<typeof vaultStatus>

export const agentRecord = z.object({
  id: identifier,
  name: z.string(),
  connected: z.boolean(),
  revoked: z.boolean(),
  sources: z.array(z.string()),
})

export const tokenRequest = z.object({
  validMs: z
    .int()
    .min(60_000)
    .max(30 * 86_400_000)
    .default(3_600_000),
  replaces: z.string().optional().describe('id or name of the agent whose place the server takes: its machine is lost'),
})
export const tokenAnswer = z.object({ token: z.string(), expires: isoMoment })

export const enrolRequest = z.object({
  secret: z.string(),
  name,
  csr: z.string(),
  replaces: identifier.optional().describe('the agent that this server was until now, and stays; its name is kept'),
  proof: z
    .object({ certificate: z.string(), signature: z.string() })
    .optional()
    .describe('of holding the key of that agent: not needed with a token that was made to replace it'),
})
export const enrolAnswer = z.object({
  agent: identifier,
  name,
  vault: identifier,
  certificate: z.string(),
  ca: z.string(),
})
export const renewRequest = z.object({ csr: z.string() })

export const resolvedPoint = z.object({
  sequence: sequenceNumber,
  moment: isoMoment.describe('of the last change at or before the point'),
  settled: z.boolean().describe('nothing was known to be uncaptured here'),
  suspect: z.string().optional().describe('why the tree may be behind the source here'),
})
export type ResolvedPointAnswer = z.infer<typeof resolvedPoint>

export const chunkKeyAnswer = z
  .object({ chunkKey: z.base64() })
  .describe('HMAC key of chunk ids: whoever restores checks with it, end to end, what the vault gave')

export const pointRow = z.object({
  kind: z.enum(['activity', 'mark', 'hole', 'suspect', 'torn', 'vanished']),
  sequence: sequenceNumber,
  moment: isoMoment,
  until: isoMoment.optional(),
  changes: z.int().optional(),
  bytes: z.int().optional().describe('of content that the changes brought'),
  settled: z.boolean().optional(),
  flushes: z
    .object({ count: z.int(), last: sequenceNumber })
    .optional()
    .describe('of a volume: flushes among the changes, and where the last one is'),
  label: z.string().optional(),
})
export type PointRow = z.infer<typeof pointRow>

export const entry = z.object({
  path: z.string(),
  pathBytes: z.base64().optional(),
  type: z.enum(['directory', 'file', 'symlink', 'fifo', 'socket', 'character-device', 'block-device']),
  bytes: z.int(),
  mode: z.int(),
  uid: z.int(),
  gid: z.int(),
  modified: isoMoment,
  target: z.string().optional(),
  links: z.int().optional(),
})
export type EntryAnswer = z.infer<typeof entry>

export const historyRow = z.object({
  sequence: sequenceNumber,
  moment: isoMoment,
  event: z.enum(['version', 'removed']),
  type: z.string().optional(),
  bytes: z.int().optional(),
  modified: isoMoment.optional(),
})

export const diffRow = z.object({
  change: z.enum(['added', 'removed', 'content', 'attributes', 'type']),
  path: z.string(),
  pathBytes: z.base64().optional(),
})

export const heldPointRequest = z.object({
  at: z.string().describe('the point that is read'),
  holder: identifier.describe('who reads it: at random, the same each time it is asked for again'),
})

export const heldPointAnswer = z.object({
  heldMs: z.int().describe('for so long, and longer if it is asked for again'),
})

export const markRequest = z.object({ label: z.string().min(1).max(200) })
export const markAnswer = z.object({ sequence: sequenceNumber })

export const readRequest = z.object({
  requests: z.array(z.object({ path: z.base64(), at: z.int().min(0), bytes: z.int().min(1) })).max(4096),
})

export const stretchesRequest = z.object({
  path: z.base64(),
  ranges: z.array(z.object({ at: z.int().min(0), bytes: z.int().min(1) })).max(4096),
  withoutJournal: z.boolean().default(false).describe('leave out what "journal-stretches" tells'),
})

export const extentsAnswer = z.object({
  until: z.int().describe('how far it is told; ask again from there'),
  data: z.array(z.object({ at: z.int(), bytes: z.int() })).describe('ascending; what is between is zeros'),
})

export const verifyEvent = z.object({
  done: z.boolean(),
  files: z.int(),
  filesTotal: z.int(),
  bytes: z.int(),
  bytesTotal: z.int(),
  failures: z.array(z.object({ path: z.string(), message: z.string() })),
  notRecorded: z.string().optional().describe('of the last event: why the vault could not record the result'),
})
/** That a point was read back and checked, or recovered and checked, and how it ended. */
export const verification = z.object({
  at: isoMoment.describe('when it ended'),
  sequence: sequenceNumber.describe('the point'),
  moment: isoMoment.describe('of the point'),
  good: z.boolean(),
  files: z.int(),
  bytes: z.int().describe('that were read back'),
  seconds: z.number(),
  text: z.string().describe('what was done and found'),
  by: z.string().describe('who asked for it'),
})
export type VerificationAnswer = z.infer<typeof verification>
export const verificationsRequest = z.object({
  from: isoMoment.optional(),
  to: isoMoment.optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
})
/** Of who verified elsewhere. */
export const verificationRequest = z.object({
  at: z.string().max(300).describe('the point that was verified'),
  good: z.boolean(),
  files: z.int().min(0).default(0),
  bytes: z.int().min(0).default(0),
  seconds: z.number().min(0),
  text: z.string().min(1).max(1000),
})
export type VerifyEvent = z.infer<typeof verifyEvent>
