import type { TaskBody } from '../../api/tasks.ts'
import { unreachable } from '../../base/assert.ts'
import { TidemarkError } from '../../base/errors.ts'
import { formatMoment } from '../../model/moment.ts'
import type { CaptureReport } from '../../model/report.ts'
import type { Id } from '../../model/source.ts'
import { tellPath } from '../answers.ts'
import type { Context } from '../context.ts'
import { resolvePoint } from '../resolve-point.ts'
import { recordReadBack } from '../verifications.ts'
import type { Outcome, Told } from './tasks.ts'

const lookMs = 500
/** How long a capture may take to begin what it was asked for. */
const beginMsMax = 120_000
/** Of what is wrong, so much is told in the log. */
const failuresToldMax = 100

/** What the vault does itself: it reads back what it keeps, and asks captures for new baselines. */
export function doAtVault(
  known: Pick<Context, 'vault' | 'derived' | 'live' | 'measures' | 'clock'>,
): (body: TaskBody, source: Id, told: Told, signal: AbortSignal) => Promise<Outcome> {
  return async (body, source, told, signal) => {
    switch (body.kind) {
      case 'verify':
        return verify(known, source, body.at, told, signal)
      case 'baseline':
        return baseline(known, source, told, signal)
      case 'restore':
      case 'preflight':
      case 'discover':
        throw new Error(`broken invariant: a ${body.kind} is done by an agent`)
      default:
        return unreachable(body)
    }
  }
}

async function verify(
  known: Pick<Context, 'vault' | 'derived' | 'measures' | 'clock'>,
  source: Id,
  at: string,
  told: Told,
  signal: AbortSignal,
): Promise<Outcome> {
  const { clock } = known
  const beganMs = clock.monotonicMs()
  const point = await resolvePoint(known, source, at)
  told.log(`reads back every byte of seq:${point.sequence} (${formatMoment(point.moment)})`)
  for await (const event of known.derived.views.verify(source, point.sequence, signal)) {
    signal.throwIfAborted()
    const { files, filesTotal, bytes, bytesTotal, failures } = event
    const spentMs = clock.monotonicMs() - beganMs
    const secondsLeft = bytes > 0 ? ((bytesTotal - bytes) * spentMs) / bytes / 1000 : null
    told.progress({ files, filesTotal, bytes, bytesTotal, secondsLeft: event.done ? 0 : secondsLeft })
    if (!event.done) continue
    for (const { path, message } of failures.slice(0, failuresToldMax))
      told.log(`wrong: ${tellPath(path).path}: ${message}`)
    const receipt = { at: point.sequence, moment: formatMoment(point.moment), files, bytes, wrong: failures.length }
    const seconds = Math.round(spentMs) / 1000
    const notRecorded = recordReadBack(known, { source, point, seconds, by: told.by }, event)
    if (notRecorded !== undefined) told.log(`the result could not be recorded as the last verification: ${notRecorded}`)
    if (failures.length === 0) return { state: 'done', result: { receipt: { ...receipt, seconds } } }
    return {
      state: 'failed',
      result: { receipt: { ...receipt, seconds } },
      error: {
        code: 'verification-failed',
        message: `${failures.length} of ${files} files are not what was stored`,
        hint: 'the log names them; keep the vault as it is, and heal it from another that holds the same journal',
      },
    }
  }
  throw new TidemarkError('interrupted', { message: 'the verification ended early', hint: 'resume it' })
}

/** Asks for it and looks on: a source compares, or copies, while it goes on capturing. */
async function baseline(
  { live, clock }: Pick<Context, 'live' | 'clock'>,
  source: Id,
  told: Told,
  signal: AbortSignal,
): Promise<Outcome> {
  const { meter } = live.source(source)
  const before = meter.report?.compared ?? 0
  const askedMs = clock.monotonicMs()
  live.source(source).reconcile()
  told.log('the agent was asked; the source goes on being protected meanwhile')
  for (let hasBegun = false; ;) {
    await clock.sleep(lookMs, signal)
    const { report } = meter
    if (report === undefined) continue
    if (isAtIt(report)) hasBegun = true
    if (report.progress !== undefined) told.progress({ ...report.progress, secondsLeft: null })
    const isOver = !isAtIt(report) && (report.compared ?? 0) > before
    if (isOver) return { state: 'done', result: { receipt: { seconds: (clock.monotonicMs() - askedMs) / 1000 } } }
    if (!hasBegun && clock.monotonicMs() - askedMs > beginMsMax)
      throw new TidemarkError('unreachable', {
        message: `nothing was begun within ${beginMsMax / 1000} s`,
        hint: 'see in "tidemark status" what keeps the source, then ask again',
      })
  }
}

/** The progress of PostgreSQL's base backup goes with a state that stays live. */
const isAtIt = ({ state, progress }: CaptureReport): boolean =>
  state === 'baseline' || state === 'reconciling' || progress !== undefined
