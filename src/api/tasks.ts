import { z } from 'zod'
import type { PreflightFacts } from '../model/preflight.ts'
import { identifier, isoMoment, name, problem } from './schemas.ts'

/** Long work that somebody asked for: kept by the vault, done by an agent or by the vault itself. */

const at = z.string().min(1).max(300).describe('a POINT')
const path = z.string().min(1).max(4096)

/** What `tidemark restore` takes, for one source. */
export const restoreBody = z.object({
  kind: z.literal('restore'),
  agent: z.string().describe('name or id of the agent on whose server it is restored'),
  source: z.string().optional().describe('name or id; or'),
  system: z.string().optional().describe('all its sources, to one moment'),
  at,
  to: path.startsWith('/').describe('directory, image file or device on that server'),
  paths: z.array(path).max(1024).default([]).describe('only these, of kind files'),
  start: z.boolean().default(false).describe('of a database: start it'),
  inPlace: z.string().optional().describe("the source's name, typed by the user: restore to the original place"),
})

export const preflightBody = restoreBody.omit({ kind: true }).extend({ kind: z.literal('preflight') })

export const verifyBody = z.object({
  kind: z.literal('verify'),
  source: z.string(),
  at: at.default('latest'),
})

/** Asks an agent what there is to protect on its server. */
export const discoverBody = z.object({ kind: z.literal('discover'), agent: z.string() })

export const baselineBody = z
  .object({ kind: z.literal('baseline'), source: z.string() })
  .describe('a new baseline, or a full comparison')

export const taskBody = z.discriminatedUnion('kind', [
  restoreBody,
  preflightBody,
  verifyBody,
  discoverBody,
  baselineBody,
])
export type TaskBody = z.infer<typeof taskBody>

/** `interrupted`: can be resumed. */
export const taskState = z.enum(['waiting', 'running', 'done', 'failed', 'cancelled', 'interrupted'])
export type TaskState = z.infer<typeof taskState>

export const taskProgress = z.object({
  files: z.int(),
  filesTotal: z.int(),
  bytes: z.int(),
  bytesTotal: z.int(),
  secondsLeft: z.number().nullable(),
  phase: z.string().optional(),
})

/** What each code of a row stands for, and which values it has. */
export type PreflightSentences = PreflightFacts

/** One answer of a pre-flight check; `hint` is the next step where it is not well. */
export const preflightRow = z.object({
  check: z.enum(['room', 'version', 'port', 'overwrites', 'permission', 'agent', 'point', 'duration']),
  verdict: z.enum(['good', 'warning', 'refused']),
  code: z.string().max(64).optional().describe('of the sentence; an agent of an older release tells none'),
  values: z
    .record(z.string(), z.union([z.string(), z.number()]))
    .optional()
    .describe('what stands in the sentence: bytes, milliseconds and counts as numbers, moments as ISO'),
  message: z.string(),
  hint: z.string().optional(),
})

export const discovered = z.object({
  hostname: z.string(),
  system: z.string().describe('operating system and kernel'),
  postgres: z
    .array(
      z.object({
        url: z.string(),
        version: z.string(),
        dataDirectory: z.string().optional(),
        bytes: z.int().optional(),
        source: z.string().optional().describe('the source that protects it already'),
        problems: z.array(problem),
      }),
    )
    .max(64),
  mounts: z
    .array(
      z.object({
        path: z.string(),
        type: z.string(),
        device: z.string(),
        bytes: z.int(),
        usedBytes: z.int(),
        source: z.string().optional(),
      }),
    )
    .max(256),
  directories: z
    .array(z.object({ path: z.string(), bytes: z.int(), files: z.int(), source: z.string().optional() }))
    .max(256)
    .describe('at most three levels deep, largest first'),
  stopped: z.string().optional().describe('why not all directories were looked at: "after 10 s"'),
})
export type Discovered = z.infer<typeof discovered>

export const taskResult = z.object({
  preflight: z.array(preflightRow).optional(),
  discovered: discovered.optional(),
  /** What the command told at its end: the receipt of a restore, the counts of a verification. */
  receipt: z.record(z.string(), z.unknown()).optional(),
})

export const taskRecord = z.object({
  id: identifier,
  kind: z.enum(['restore', 'preflight', 'verify', 'discover', 'baseline']),
  body: taskBody,
  state: taskState,
  by: z.string().describe('who asked: a user of a console, or "operator"'),
  source: name.optional(),
  agent: name.optional(),
  created: isoMoment,
  began: isoMoment.nullable(),
  ended: isoMoment.nullable(),
  progress: taskProgress.optional(),
  error: problem.optional(),
  result: taskResult.optional(),
  log: z.array(z.object({ at: isoMoment, line: z.string() })).max(1000),
})
export type TaskRecord = z.infer<typeof taskRecord>

export const tasksRequest = z.object({
  state: taskState.optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
})

export const tasksRunningMax = 4
export const tasksKeptMax = 200
export const logLinesMax = 1000

const timeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$|^24:00$/, 'must be a time such as 08:30')

/** model/bandwidth.ts says what it means. */
export const bandwidthLimit = z.object({
  from: timeOfDay,
  to: timeOfDay,
  days: z.array(z.int().min(0).max(6)).min(1).optional().describe('0 is Sunday; absent: every day'),
  bytesPerSecond: z.int().min(1024),
})
export const bandwidthLimits = z
  .array(bandwidthLimit)
  .max(64)
  .describe("by local time of the agent's server; the first that fits holds, none: no limit")

export const agentDetails = z.object({
  id: identifier,
  name: z.string(),
  connected: z.boolean(),
  revoked: z.boolean(),
  enrolled: isoMoment,
  software: z.string().nullable().describe('null before it was ever connected to this vault process'),
  lastContact: isoMoment.nullable(),
  address: z.string().nullable(),
  certificateExpires: isoMoment.nullable(),
  roundTripMs: z.number().nullable(),
  bytesPerSecond: z.number().describe('received from it'),
  limits: bandwidthLimits.describe('set at the vault'),
  limitsOnServer: bandwidthLimits.describe("in the agent's own settings.json; where both limit, the lower holds"),
  limitNow: z.int().nullable().describe('bytes per second; the lower of both'),
  backlogBytes: z.int(),
  secondsToCatchUp: z.number().nullable(),
  sources: z.array(z.string()),
})
export const agentChange = z.object({ limits: bandwidthLimits })
export type AgentDetails = z.infer<typeof agentDetails>
