import { existsSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import type { TreePath } from '../model/path.ts'
import { Folders } from './folders.ts'
import { groupsMadeBy } from './groups.ts'
import { dressFolders, makeLinks } from './finish-tree.ts'
import type { RestorePoint } from '../model/recovery-point.ts'
import type { RestoreOrigin } from './origin.ts'
import { countPlan, keepPlan, keptPlan, type PlanTotals, readPlan, type Step } from './plan.ts'
import { ProgressMeter, type RestoreProgress } from './progress.ts'
import { RestoreIncomplete, type RestoreReceipt, Tally } from './receipt.ts'
import { RestoreLog } from './restore-log.ts'
import { StateFolder } from './state-folder.ts'
import { checkRoom, checkTarget, foreseenNotes, roomAt, TargetDirectory } from './target.ts'
import { writeContent } from './write-content.ts'
import { resumable } from './resumable.ts'
import { Writers } from './writers.ts'

export interface RestoreRequest {
  /** What the source is called, for the receipt and for knowing the restore again. */
  readonly source: string
  /** Restores only what is at and below these; all of the tree when there are none. */
  readonly paths: readonly TreePath[]
  /** The directory to restore into: `srv/docs/a` of the tree comes to `<target>/srv/docs/a`. */
  readonly target: string
  /** Go on with an unfinished restore of the same point and paths. */
  readonly resume: boolean
}

export interface RestoreParts {
  readonly origin: RestoreOrigin
  readonly clock: Clock
  readonly tell: (progress: RestoreProgress) => void
}

/**
 * Restores a tree at a point into a directory, and returns once it is durable there. Every byte is checked against
 * what the agent once named it. Throws `RestoreIncomplete` when some of the tree could not be had, with the rest in
 * its place; `interrupted`, `no-space` and `unreachable` leave a target that `resume` goes on with.
 */
export async function restore(
  request: RestoreRequest,
  parts: RestoreParts,
  signal: AbortSignal,
): Promise<RestoreReceipt> {
  const { origin, clock, tell } = parts
  const startedMs = clock.monotonicMs()
  const { suspect, ...point } = await origin.resolve()
  const restored = { source: request.source, paths: request.paths, ...point }
  checkTarget(request.target, restored, request.resume)
  using target = new TargetDirectory(request.target)
  using state = new StateFolder(target.path, restored, groupsMadeBy)
  const tally = new Tally()
  try {
    const totals = await plan(request, parts, state, signal)
    const progress = new ProgressMeter(totals, clock, tell)
    {
      using folders = new Folders(target.descriptor)
      await using writers = new Writers(target.descriptor, state, origin.chunkKey, writersCount)
      const log = new RestoreLog(state, clock, () => writers.run({ kind: 'sync' }))
      await writeContent(steps(state), { origin, folders, state, writers, log, progress, tally }, signal)
      progress.stage('finishing')
      if (totals.links > 0) await makeLinks(steps(state), folders, tally)
      await dressFolders(steps(state), folders, tally)
      await writers.run({ kind: 'sync' })
    }
    const receipt = receiptOf({ ...restored, suspect }, target.path, tally, clock.monotonicMs() - startedMs)
    if (receipt.failureCount > 0) throw new RestoreIncomplete(receipt)
    state.remove()
    return receipt
  } catch (error) {
    throw resumable(error, request.target, signal)
  }
}

/** Measured in bench/restore.ts: one more gains nothing on two cores. */
const writersCount = 2

const steps = (state: StateFolder): AsyncIterable<Step> => readPlan(keptPlan(state.manifest))

/** Reads the manifest once, into the state folder, unless an earlier run has; then counts and checks for room. */
async function plan(request: RestoreRequest, { origin, tell }: RestoreParts, state: StateFolder, signal: AbortSignal) {
  tell({ stage: 'planning', files: 0, filesTotal: 0, bytes: 0, bytesTotal: 0, leftMs: undefined })
  if (!existsSync(state.manifest)) await keepPlan(origin.manifest(request.paths), state.manifest, signal)
  const begun = state.done.size > 0
  try {
    const room = roomAt(state.path)
    const totals = await countPlan(steps(state), room.blockBytes)
    // What an earlier run has written already takes its room.
    if (!begun) checkRoom(request.target, room, totals)
    return totals
  } catch (error) {
    if (!begun) state.remove()
    throw error
  }
}

export interface Rehearsal extends RestorePoint {
  readonly source: string
  readonly totals: PlanTotals
  readonly freeBytes: number
  readonly notes: readonly string[]
}

/** What a restore would do, with the same refusals; writes nothing. */
export async function rehearseRestore(request: RestoreRequest, origin: RestoreOrigin): Promise<Rehearsal> {
  const { suspect, ...point } = await origin.resolve()
  const restored = { source: request.source, paths: request.paths, ...point }
  checkTarget(request.target, restored, request.resume)
  const room = roomAt(request.target)
  const totals = await countPlan(readPlan(origin.manifest(request.paths)), room.blockBytes)
  if (!request.resume) checkRoom(request.target, room, totals)
  const { source, at, moment } = restored
  return {
    source,
    at,
    moment,
    totals,
    freeBytes: room.freeBytes,
    notes: [...suspectNotes(suspect), ...foreseenNotes(totals)],
  }
}

const suspectNotes = (suspect: string | undefined): string[] =>
  suspect === undefined
    ? []
    : [
        `the point is suspect (${suspect}): parts may be missing, older or newer than the rest; "tidemark points" lists others`,
      ]

function receiptOf(
  { source, at, moment, suspect }: RestorePoint & { source: string },
  target: string,
  tally: Tally,
  elapsedMs: number,
): RestoreReceipt {
  const { files, directories, links, nodes, bytes, chunks, failures, failureCount } = tally
  return {
    source,
    at,
    moment,
    target,
    files,
    directories,
    links,
    nodes,
    bytes,
    seconds: Math.round(elapsedMs) / 1000,
    verifiedChunks: chunks,
    notes: [...suspectNotes(suspect), ...tally.notes.sentences(), ...tally.damage],
    failures,
    failureCount,
  }
}
