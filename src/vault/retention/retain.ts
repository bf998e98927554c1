import { assert } from '../../base/assert.ts'
import { isCode } from '../../base/errors.ts'
import type { Change } from '../../model/change.ts'
import { type Moment, moment } from '../../model/moment.ts'
import { rootPath } from '../../model/path.ts'
import { type Sequence, sequence } from '../../model/sequence.ts'
import { manifestOf } from '../views/manifest.ts'
import { View } from '../views/view.ts'
import { momentIn } from '../index/index-reader.ts'
import { indexFailure } from '../index/sqlite-failure.ts'
import { foldRuns } from './folding.ts'
import { pruneBefore } from './pruning.ts'
import { settlePieces, type SettlingParts } from './settling.ts'

export interface RetainParts extends SettlingParts {
  /** First sequences of the journal's segments, ascending. */
  readonly segmentStarts: () => AsyncIterable<Sequence>
  readonly writeCheckpoint: (at: Sequence, when: Moment, changes: AsyncIterable<Change>) => Promise<void>
  readonly dropBefore: (at: Sequence) => Promise<void>
}

/**
 * Forgets what happened before `before`, as far as whole segments hold nothing later. Returns the sequence from which on
 * points are kept now; undefined where nothing was to be forgotten. May be stopped or killed anywhere: what is kept can
 * be read at each step, and the next call goes on.
 *
 * The steps, each durable before the next: what the runs of the index left becomes rows; pieces that stand in the old segments become chunks; the tree at their end
 * becomes a checkpoint, of whole chunks only; the index says that points are kept from there on; the segments go; the
 * rows of the index go. Then nothing names the chunks of the old versions, and a collection of packs frees them.
 */
export async function retain(parts: RetainParts, before: Moment): Promise<Sequence | undefined> {
  try {
    return await forgetBefore(parts, before)
  } catch (error) {
    throw indexFailure(error)
  }
}

async function forgetBefore(parts: RetainParts, before: Moment): Promise<Sequence | undefined> {
  const { indexer } = parts
  await finishLast(parts)
  const at = await lastBoundary(parts, before)
  if (at === undefined) return undefined
  const batch = indexer.rows.batchAt(at)
  assert(batch !== undefined && batch.last === at, 'a segment ends with a batch')
  const when = momentIn(batch, at)
  await foldRuns(indexer, at)
  await settlePieces(parts, at)
  await writeOnce(parts, at, when)
  await indexer.exclusively((index) => index.keepFrom(at, when))
  await parts.dropBefore(at)
  await pruneBefore(indexer, at, when)
  return at
}

/** What an earlier call was stopped at. */
async function finishLast(parts: RetainParts): Promise<void> {
  const { indexer } = parts
  const { checkpoint, checkpoint_moment: when, pruned } = indexer.rows.state()
  if (checkpoint === 0) return
  for await (const end of segmentEnds(parts)) {
    if (end <= checkpoint) await parts.dropBefore(sequence(checkpoint))
    break
  }
  if (pruned < checkpoint) await pruneBefore(indexer, sequence(checkpoint), moment(when))
}

/** The last change of the newest segment that holds nothing from `before` on; the growing segment stays. */
async function lastBoundary(parts: RetainParts, before: Moment): Promise<Sequence | undefined> {
  const { rows } = parts.indexer
  const { checkpoint, indexed } = rows.kept()
  let found: Sequence | undefined
  for await (const end of segmentEnds(parts)) {
    if (end <= checkpoint) continue
    const batch = end <= indexed ? rows.batchAt(end) : undefined
    if (batch === undefined || batch.last_moment >= before) break
    found = end
  }
  return found
}

/** Last changes of all segments but the growing one. */
async function* segmentEnds({ segmentStarts }: RetainParts): AsyncGenerator<Sequence> {
  let isFirst = true
  for await (const start of segmentStarts()) {
    if (!isFirst) yield sequence(start - 1)
    isFirst = false
  }
}

/** A checkpoint that is there was written by an earlier call, from the same tree and the same chunks. */
async function writeOnce(parts: RetainParts, at: Sequence, when: Moment): Promise<void> {
  try {
    await parts.writeCheckpoint(at, when, checkpointOf(parts, at))
  } catch (error) {
    if (!isCode(error, 'already-exists')) throw error
  }
}

/** The tree at `at`, what is being built in it included, and the spans that are open there. */
async function* checkpointOf({ indexer, content }: RetainParts, at: Sequence): AsyncGenerator<Change> {
  const { rows } = indexer
  for (const { mark } of rows.openMarks(at)) yield { kind: 'mark', mark }
  const view = new View({ rows, content, at, staging: true })
  yield* manifestOf(view, [rootPath], notSettled)
}

const notSettled = (): Promise<never> => Promise.reject(new Error('broken invariant: a piece is not a whole chunk'))
