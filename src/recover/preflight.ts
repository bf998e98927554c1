import { accessSync, constants, existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { TreePath } from '../model/path.ts'
import { preflightFact as fact, type PreflightFact } from '../model/preflight.ts'
import { countPlan, type PlanTotals, readPlan, type Step } from './plan.ts'
import type { RestoreOrigin } from './origin.ts'
import { checkRoom, checkTarget, foreseenNotes, roomAt } from './target.ts'

/** What a restore would meet, each thing by itself: an operator sees all of it at once. */
export interface Foreseen {
  readonly check: 'room' | 'version' | 'port' | 'overwrites' | 'permission' | 'point' | 'duration'
  readonly verdict: 'good' | 'warning' | 'refused'
  readonly code: string
  readonly values: Readonly<Record<string, string | number>>
  readonly message: string
  readonly hint?: string
}

export async function foreseen(
  check: Foreseen['check'],
  good: PreflightFact & { readonly message: string },
  step: () => unknown,
): Promise<Foreseen> {
  try {
    await step()
    return { check, verdict: 'good', ...good }
  } catch (error) {
    return refusal(check, error)
  }
}

/** The refusal that a step of a restore throws, as an answer; anything else is thrown on. */
export function refusal(check: Foreseen['check'], error: unknown): Foreseen {
  if (!(error instanceof TidemarkError) || error.code === 'unreachable' || error.code === 'interrupted') throw error
  const { code, message, hint } = error
  const told = error.fact ?? fact(code === 'point-unreachable' ? code : 'refused', { error: message })
  return { check, verdict: 'refused', ...told, message, ...(hint === undefined ? {} : { hint }) }
}

/** Whether this process may make the target, or write into it. */
export function foreseeWriting(target: string): Foreseen {
  let at = resolve(target)
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at)
  try {
    accessSync(at, constants.W_OK)
    const [note, ...more] = foreseenNotes({ devices: 0 })
    if (note === undefined)
      return {
        check: 'permission',
        verdict: 'good',
        ...fact('writing-open', { path: at }),
        message: `this process may write to ${at}`,
      }
    return {
      check: 'permission',
      verdict: 'warning',
      ...fact('writing-without-owners', {}),
      message: [note, ...more].join('; '),
      hint: 'run the agent as root where owners and all attributes have to come back',
    }
  } catch (error) {
    return {
      check: 'permission',
      verdict: 'refused',
      ...fact('writing-closed', { path: at, error: messageOf(error) }),
      message: `this process may not write to ${at}: ${messageOf(error)}`,
      hint: 'choose another place, or run the agent as a user who may',
    }
  }
}

/** Of a tree of files. */
export async function foreseeFiles(
  request: { readonly source: string; readonly target: string; readonly paths: readonly TreePath[] },
  origin: RestoreOrigin,
): Promise<{ readonly rows: Foreseen[]; readonly totals: PlanTotals; readonly largest: readonly Largest[] }> {
  const { target, paths } = request
  const restored = { source: request.source, paths, ...(await origin.resolve()) }
  const room = roomAt(target)
  const largest: Largest[] = []
  async function* steps(): AsyncGenerator<Step> {
    for await (const step of readPlan(origin.manifest(paths))) {
      if (step.kind === 'file' && step.content.bytes > (largest[probeFilesMax - 1]?.bytes ?? 0)) {
        const { path, content } = step
        const place = largest.findIndex(({ bytes }) => bytes < content.bytes)
        largest.splice(place < 0 ? largest.length : place, 0, { path, bytes: content.bytes })
        largest.length = Math.min(largest.length, probeFilesMax)
      }
      yield step
    }
  }
  const totals = await countPlan(steps(), room.blockBytes)
  return {
    rows: [
      await foreseen('overwrites', targetFree(target), () => checkTarget(target, restored, false)),
      await foreseen('room', roomEnough(totals.spaceBytes, room.freeBytes), () => checkRoom(target, room, totals)),
      foreseeWriting(target),
    ],
    totals,
    largest,
  }
}

export const targetFree = (path: string): PreflightFact & { readonly message: string } => ({
  ...fact('target-free', { path }),
  message: `${path} is empty, or not there yet: nothing is overwritten`,
})

export const roomEnough = (neededBytes: number, freeBytes: number): PreflightFact & { readonly message: string } => ({
  ...fact('room-enough', { neededBytes, freeBytes }),
  message: `${neededBytes} bytes are needed, and ${freeBytes} are free`,
})

export interface Largest {
  readonly path: TreePath
  readonly bytes: number
}

/** Read one after the other, the largest first. */
const probeFilesMax = 64
const probeBytesMax = 64 * 1024 * 1024
const probeMsMax = 1_500
/** Below this a rate says nothing. */
const probeBytesMin = 64 * 1024
/** Making a file costs about as much as writing this much of it. */
const fileWeightBytes = 32 * 1024

/** How long it should take, from reading some of it now. */
export async function foreseeDuration(
  pieces: AsyncIterable<Uint8Array> | undefined,
  wanted: { readonly bytes: number; readonly files: number },
  clock: Clock,
): Promise<Foreseen> {
  const startedMs = clock.monotonicMs()
  let read = 0
  if (pieces !== undefined)
    for await (const piece of pieces) {
      read += piece.length
      if (read >= probeBytesMax || clock.monotonicMs() - startedMs > probeMsMax) break
    }
  const ms = Math.max(1, clock.monotonicMs() - startedMs)
  if (read < Math.min(probeBytesMin, wanted.bytes))
    return {
      check: 'duration',
      verdict: 'warning',
      ...fact('duration-unknown', {}),
      message: 'how long it takes is not known: too little could be read to measure',
    }
  const perSecond = Math.round((read * 1000) / ms)
  const seconds = Math.ceil((wanted.bytes + wanted.files * fileWeightBytes) / Math.max(1, perSecond))
  return {
    check: 'duration',
    verdict: 'good',
    ...fact('duration-known', { durationMs: seconds * 1000, bytes: wanted.bytes, bytesPerSecond: perSecond }),
    message: `about ${seconds} s for ${wanted.bytes} bytes, at the ${perSecond} bytes per second that were measured just now`,
  }
}
