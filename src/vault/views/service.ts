import type { Range } from '../../model/change.ts'
import type { Moment } from '../../model/moment.ts'
import type { BinaryString, TreePath } from '../../model/path.ts'
import type { RecoveryPoint, Span } from '../../model/recovery-point.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import type { Around, AroundRequest } from './around.ts'
import type { DiffRow } from './diff.ts'
import type { HistoryRow } from './history.ts'
import type { HolesRequest, PointRow, PointsRequest } from './points.ts'
import type { SearchPage, SearchRequest } from './search.ts'
import type { Entry } from './view.ts'

/**
 * Every question about any moment. The HTTP API, restores and verification ask here and nowhere else; whether the
 * answer is made in this thread or in another cannot be told.
 *
 * A stream ends early, with the signal's reason, when its signal aborts. Errors: `point-unreachable` where a point is
 * not kept, not indexed yet, or left the window while it was read; `not-found` for a path; `damaged` for bytes.
 */
export interface ViewService {
  /** What a point as a person writes it (model/recovery-point.ts) means now. */
  resolve(source: Id, point: string, now: Moment): Promise<RecoveryPoint>
  points(source: Id, request: PointsRequest): Promise<PointRow[]>
  /** Spans in which changes were not kept one by one, at most `holesMax`, the newest. */
  holes(source: Id, request: HolesRequest): Promise<Span[]>
  /** What of files, flushes and users' marks lies nearest before and after a point. */
  around(source: Id, at: Sequence, request: AroundRequest): Promise<Around>
  stat(source: Id, at: Sequence, path: TreePath): Promise<Entry>
  /** Children of a directory ascending by name, or the one entry; begins after the name `after` if one is given. */
  list(source: Id, at: Sequence, path: TreePath, signal?: AbortSignal, after?: BinaryString): AsyncIterable<Entry[]>
  history(source: Id, path: TreePath, signal?: AbortSignal): AsyncIterable<HistoryRow>
  /** Names that contain a text, at any time; pages may be empty, and the last one tells from where to go on. */
  search(source: Id, request: SearchRequest, signal?: AbortSignal): AsyncIterable<SearchPage>
  diff(source: Id, from: Sequence, to: Sequence, path: TreePath, signal?: AbortSignal): AsyncIterable<DiffRow>
  /** The tree at and below the paths (all of it without any), encoded as in format/manifest.ts. */
  manifest(source: Id, at: Sequence, paths: readonly TreePath[], signal?: AbortSignal): AsyncIterable<Buffer>
  /** `bytes` bytes of a file from `offset` on, fewer where it ends. */
  content(
    source: Id,
    at: Sequence,
    path: TreePath,
    offset: number,
    bytes: number,
    signal?: AbortSignal,
  ): AsyncIterable<Buffer>
  /**
   * The bytes of the requests, one after the other. All of them are there: a request that reaches beyond the end of
   * its file is `bad-request`.
   */
  read(source: Id, at: Sequence, requests: readonly ReadRequest[], signal?: AbortSignal): AsyncIterable<Buffer>
  /**
   * The same as `read`, encoded as in format/content.ts: what was compressed stays so, and chunks are checked against
   * their names by whoever decodes it. Damage that shows underway is told in the content.
   */
  readResting(source: Id, at: Sequence, requests: readonly ReadRequest[], signal?: AbortSignal): AsyncIterable<Buffer>
  /** What stands in ranges of one file, in the order in which it rests, encoded as stretches (format/content.ts). */
  stretches(
    source: Id,
    at: Sequence,
    path: TreePath,
    wanted: StretchesRequest,
    signal?: AbortSignal,
  ): AsyncIterable<Buffer>
  /** What of a file stands in the journal after a change, in its order, encoded as stretches. To be read before the rest. */
  journalStretches(
    source: Id,
    at: Sequence,
    path: TreePath,
    after: Sequence,
    signal?: AbortSignal,
  ): AsyncIterable<Buffer>
  /** Where data stands in a range of a file; what is between is zeros. */
  extents(source: Id, at: Sequence, path: TreePath, range: Range): Promise<DataExtents>
  /** Reads back and checks every byte of every file. The last event is `done` and tells all that is wrong. */
  verify(source: Id, at: Sequence, signal?: AbortSignal): AsyncIterable<VerifyEvent>
  statistics(source: Id): Promise<Statistics>
}

export interface ReadRequest {
  readonly path: TreePath
  readonly at: number
  readonly bytes: number
}

export interface StretchesRequest {
  readonly ranges: readonly Range[]
  /** What stands in the journal is told to be there, and not read. */
  readonly withoutJournal: boolean
}

export interface DataExtents {
  /** How far it is told; the end of the range, or less where very much stands there. */
  readonly until: number
  /** Ascending, not touching. */
  readonly data: readonly Range[]
}

export interface VerifyEvent {
  readonly done: boolean
  readonly files: number
  readonly filesTotal: number
  readonly bytes: number
  readonly bytesTotal: number
  /** In the last event, at most `failuresMax`. */
  readonly failures: readonly { readonly path: TreePath; readonly message: string }[]
}

export const failuresMax = 10_000

export interface Statistics {
  /** Up to where views can be opened. */
  readonly indexed: Sequence
  /** Moment of the first point that can be restored; undefined while there is none. */
  readonly earliest: Moment | undefined
  readonly latest: Moment | undefined
  /** The newest span in which changes were not kept one by one. */
  readonly hole: Span | undefined
  /** Changes kept one by one. */
  readonly changes: number
  /** Bytes of content that those brought. */
  readonly changedBytes: number
  /** Bytes of content that all changes brought since the journal began; never less than before. */
  readonly broughtBytes: number
  /** The tree as it is now. A file of several names counts once. */
  readonly files: number
  readonly bytes: number
  /** Changes that made no sense where they stood and were passed over; more than 0 is a fault of a capture. */
  readonly misfits: number
}
