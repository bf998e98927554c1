import * as z from 'zod'
import { problem } from '../../api/schemas.ts'
import { discovered, preflightRow, type taskProgress } from '../../api/tasks.ts'

/** What a command with --json says in one line. */
export type Said =
  | { readonly kind: 'progress'; readonly progress: Progress }
  | { readonly kind: 'receipt'; readonly receipt: Record<string, unknown> }
  | { readonly kind: 'verified'; readonly receipt: Record<string, unknown>; readonly failures: readonly string[] }
  | { readonly kind: 'preflight'; readonly rows: z.infer<typeof preflightRow>[] }
  | { readonly kind: 'discovered'; readonly discovered: z.infer<typeof discovered> }
  | { readonly kind: 'error'; readonly error: z.infer<typeof problem> }
  | { readonly kind: 'text'; readonly text: string }
type Progress = z.infer<typeof taskProgress>

const count = z.number().min(0).optional()
const progressLine = z.object({
  progress: z.object({
    kind: z.string().optional(),
    stage: z.string().optional(),
    files: count,
    filesTotal: count,
    bytes: count,
    bytesTotal: count,
    leftMs: count,
  }),
})
const phaseLine = z.object({ progress: z.string() })
const receiptLine = z.object({ receipt: z.record(z.string(), z.unknown()) })
const verifiedLine = z.looseObject({ passed: z.array(z.string()), failures: z.array(z.string()) })
const preflightLine = z.object({ preflight: z.array(preflightRow) })
const discoveredLine = z.object({ discovered })
const errorLine = z.object({ error: problem })

/** A receipt is told with so much of the lists in it. */
const listedMax = 20
const textCharactersMax = 4096

export function readSaid(line: string, title: string | undefined): Said {
  const value = parsedJson(line)
  const told = <T>(schema: z.ZodType<T>): T | undefined => schema.safeParse(value).data
  const progress = told(progressLine)?.progress
  if (progress !== undefined) return { kind: 'progress', progress: progressOf(progress, title) }
  const phase = told(phaseLine)?.progress
  if (phase !== undefined) return { kind: 'progress', progress: progressOf({ stage: phase }, title) }
  const receipt = told(receiptLine)?.receipt
  if (receipt !== undefined) return { kind: 'receipt', receipt: shortened(receipt) }
  const verified = told(verifiedLine)
  if (verified !== undefined) return { kind: 'verified', receipt: shortened(verified), failures: verified.failures }
  const rows = told(preflightLine)?.preflight
  if (rows !== undefined) return { kind: 'preflight', rows }
  const found = told(discoveredLine)?.discovered
  if (found !== undefined) return { kind: 'discovered', discovered: found }
  const error = told(errorLine)?.error
  if (error !== undefined)
    return { kind: 'error', error: { ...error, message: error.message.slice(0, textCharactersMax) } }
  return { kind: 'text', text: line }
}

function parsedJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function progressOf(told: z.infer<typeof progressLine>['progress'], title: string | undefined): Progress {
  const { kind, stage, leftMs } = told
  const phase = [title, kind === 'base' ? undefined : kind, stage].filter((one) => one !== undefined).join(': ')
  return {
    files: Math.round(told.files ?? 0),
    filesTotal: Math.round(told.filesTotal ?? 0),
    bytes: Math.round(told.bytes ?? 0),
    bytesTotal: Math.round(told.bytesTotal ?? 0),
    secondsLeft: leftMs === undefined ? null : leftMs / 1000,
    ...(phase === '' ? {} : { phase }),
  }
}

/** The whole of it stands where the command was run; what is told over the link is bounded. */
function shortened(value: Record<string, unknown>): Record<string, unknown> {
  const cut = (one: unknown): unknown => {
    if (typeof one === 'string') return one.slice(0, textCharactersMax)
    if (Array.isArray(one)) return one.slice(0, listedMax).map(cut)
    if (typeof one !== 'object' || one === null) return one
    return Object.fromEntries(
      Object.entries(one)
        .slice(0, 100)
        .map(([name, inner]) => [name, cut(inner)]),
    )
  }
  return cut(value) as Record<string, unknown>
}
