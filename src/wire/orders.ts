import * as z from 'zod'
import { discovered, logLinesMax, preflightRow, taskProgress } from '../api/tasks.ts'
import { problem } from '../api/schemas.ts'
import { isId, namePattern } from '../model/source.ts'

/** What a vault orders an agent to do, and what the agent tells of it. Told at length in docs/protocols/link.md. */

const id = z.string().refine(isId)
/** Of a command line: it holds no NUL. */
const text = z
  .string()
  .max(4096)
  // oxlint-disable-next-line no-control-regex
  .regex(/^[^\0]*$/)
/** It goes onto a command line: nothing that begins as an option does. */
const sourceName = z.string().regex(namePattern)

/** One source, brought back to one place. The point stands still: it means the same whenever it is read. */
export const restoreStep = z.object({
  source: sourceName,
  kind: z.enum(['files', 'postgres', 'volume']),
  at: text,
  to: text,
})
export type RestoreStep = z.infer<typeof restoreStep>

export const restoreStepsMax = 256
const restoring = {
  steps: z.array(restoreStep).min(1).max(restoreStepsMax),
  paths: z.array(text).max(1024),
  start: z.boolean(),
  isInPlace: z.boolean(),
}

export const taskWork = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('restore'), ...restoring }),
  z.object({ kind: z.literal('preflight'), ...restoring }),
  z.object({ kind: z.literal('verify'), source: sourceName, at: text }),
  z.object({ kind: z.literal('discover') }),
])
export type TaskWork = z.infer<typeof taskWork>

export const taskOrder = z.object({
  id,
  /** 1, and one more each time it is resumed: an agent begins each run once. */
  run: z.int().min(1),
  /** Lines of the log of this run that the vault has. */
  logged: z.int().min(0),
  work: taskWork,
})
export type TaskOrder = z.infer<typeof taskOrder>

export const taskLine = z.object({ at: z.int().nonnegative(), line: z.string().max(1000) })
export type TaskLine = z.infer<typeof taskLine>

export const endedStates = ['done', 'failed', 'cancelled', 'interrupted'] as const

export const taskReport = z.object({
  id,
  run: z.int().min(1),
  state: z.enum(['running', ...endedStates]),
  progress: taskProgress.optional(),
  /** Number of the first of the lines, from 0 at the beginning of the run. */
  first: z.int().min(0),
  lines: z.array(taskLine).max(logLinesMax),
  error: problem.optional(),
  result: z
    .object({
      preflight: z.array(preflightRow).max(1024).optional(),
      discovered: discovered.optional(),
      receipt: z.record(z.string(), z.unknown()).optional(),
    })
    .optional(),
})
export type TaskReport = z.infer<typeof taskReport>
export const taskReportBytesMax: number = 1024 * 1024
