import { type Moment, moment } from '../../model/moment.ts'
import type { TreePath } from '../../model/path.ts'
import { type Sequence, sequence } from '../../model/sequence.ts'
import { type IndexReader, momentIn, typeOf, type VersionRow } from '../index/index-reader.ts'
import { type NodeType, unpackAttributes } from '../index/packing.ts'
import { forever } from '../index/schema.ts'
import { pathOf, type PathSpan, spansOf } from './paths.ts'

/** One version of what stood at a path, or its going away. */
export type HistoryRow =
  | {
      readonly event: 'version'
      /** From this change on; the first row may have begun before the earliest point that is kept. */
      readonly sequence: Sequence
      readonly moment: Moment
      /** The change that ended it; undefined while it stands. */
      readonly until: Sequence | undefined
      readonly type: NodeType
      readonly bytes: number
      readonly mode: number
      readonly uid: number
      readonly gid: number
      readonly modifiedNs: bigint
      /** Where it was until then, if a rename brought it here. */
      readonly renamedFrom?: TreePath
    }
  | {
      readonly event: 'removed'
      readonly sequence: Sequence
      readonly moment: Moment
      /** Where it went, if a rename took it away. */
      readonly renamedTo?: TreePath
    }

const versionsAtOnce = 1_000

/** Oldest first. Nothing where nothing ever stood at the path. */
export function* historyOf(rows: IndexReader, path: TreePath): Generator<HistoryRow> {
  const { checkpoint } = rows.kept()
  const spans = spansOf(rows, path).filter(({ until }) => until > checkpoint)
  for (const [index, span] of spans.entries()) {
    yield* versionsOf(rows, { ...span, since: Math.max(span.since, checkpoint) }, checkpoint, path)
    if (span.until < forever && spans[index + 1]?.since !== span.until) {
      const renamedTo = pathOf(rows, span.node, span.until)
      yield { event: 'removed', ...placed(rows, span.until), ...(renamedTo === undefined ? {} : { renamedTo }) }
    }
  }
}

function* versionsOf(rows: IndexReader, span: PathSpan, checkpoint: number, path: TreePath): Generator<HistoryRow> {
  let held = rows.version(span.node, span.since)
  let since = span.since
  let from = cameFrom(rows, span, checkpoint, path)
  for (;;) {
    const later = rows.versions(span.node, since + 1, span.until, versionsAtOnce)
    for (const next of later) {
      if (held !== undefined) yield versionRow(rows, { span, since, until: next.since, version: held, from })
      from = held === undefined ? from : undefined
      held = next
      since = next.since
    }
    if (later.length < versionsAtOnce) break
  }
  if (held !== undefined) yield versionRow(rows, { span, since, until: span.until, version: held, from })
}

function versionRow(
  rows: IndexReader,
  told: { span: PathSpan; since: number; until: number; version: VersionRow; from: TreePath | undefined },
): HistoryRow {
  const type = typeOf(told.span)
  const { mode, uid, gid, modifiedNs } = unpackAttributes(type, told.version, rows.sealing).attributes
  return {
    event: 'version',
    ...placed(rows, told.since),
    until: told.until === forever ? undefined : sequence(told.until),
    type,
    bytes: told.version.bytes,
    mode,
    uid,
    gid,
    modifiedNs,
    ...(told.from === undefined ? {} : { renamedFrom: told.from }),
  }
}

/** Another path that the node had just before it came to this one, and has no more. */
function cameFrom(rows: IndexReader, span: PathSpan, checkpoint: number, path: TreePath): TreePath | undefined {
  if (span.since <= checkpoint) return undefined
  const before = pathOf(rows, span.node, span.since - 1)
  if (before === undefined || before === path) return undefined
  const stillThere = spansOf(rows, before).some(
    ({ node, since, until }) => node === span.node && since <= span.since && span.since < until,
  )
  return stillThere ? undefined : before
}

/** A change, and when it was captured. */
export function placed(rows: IndexReader, at: number): { sequence: Sequence; moment: Moment } {
  const batch = rows.batchAt(at)
  const when = batch === undefined ? moment(rows.kept().checkpoint_moment) : momentIn(batch, at)
  return { sequence: sequence(at), moment: when }
}
