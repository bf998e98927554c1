import type { KeyObject } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { encodeManifest } from '../../format/manifest.ts'
import type { Range } from '../../model/change.ts'
import { type Moment, moment } from '../../model/moment.ts'
import { type BinaryString, rootPath, type TreePath } from '../../model/path.ts'
import { parsePoint, type RecoveryPoint, type Span } from '../../model/recovery-point.ts'
import { type Sequence, sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import type { IndexReader } from '../index/index-reader.ts'
import { indexFailure } from '../index/sqlite-failure.ts'
import { type Around, aroundPoint, type AroundRequest } from './around.ts'
import type { ContentReader } from './content-reader.ts'
import { type DiffRow, diffViews } from './diff.ts'
import { type HistoryRow, historyOf } from './history.ts'
import { manifestOf } from './manifest.ts'
import {
  lastHole,
  listPoints,
  type PointRow,
  type PointsRequest,
  resolvePoint,
  type HolesRequest,
  listHoles,
} from './points.ts'
import { type SearchPage, type SearchRequest, searchNames } from './search.ts'
import type { DataExtents, ReadRequest, Statistics, StretchesRequest, VerifyEvent, ViewService } from './service.ts'
import { fileVersion, readRequests, restingContent } from './resting-content.ts'
import { dataExtents, journalStretches, restingStretches } from './stretches.ts'
import { verifyView } from './verify.ts'
import { type Entry, filled, View } from './view.ts'

/** What views of one source are made of. */
export interface ViewSource {
  readonly rows: IndexReader
  readonly content: ContentReader
}

/** Answers in this thread, from what is indexed at the time. */
export class LocalViews implements ViewService {
  readonly #find: (source: Id) => ViewSource
  readonly #clock: Clock
  readonly #chunkKey: KeyObject

  /** `find` is asked anew at each call; throws `not-found` for an unknown source. */
  constructor(find: (source: Id) => ViewSource, clock: Clock, chunkKey: KeyObject) {
    this.#find = find
    this.#clock = clock
    this.#chunkKey = chunkKey
  }

  resolve(source: Id, point: string, now: Moment): Promise<RecoveryPoint> {
    return answer(() => resolvePoint(this.#find(source).rows, parsePoint(point, now)))
  }

  points(source: Id, request: PointsRequest): Promise<PointRow[]> {
    return answer(() => {
      const { rows } = this.#find(source)
      return rows.atOnce(() => listPoints(rows, request))
    })
  }

  holes(source: Id, request: HolesRequest): Promise<Span[]> {
    return answer(() => {
      const { rows } = this.#find(source)
      return rows.atOnce(() => listHoles(rows, request))
    })
  }

  around(source: Id, at: Sequence, request: AroundRequest): Promise<Around> {
    return answer(() => {
      const { rows } = this.#view(source, at)
      return rows.atOnce(() => aroundPoint(rows, at, request))
    })
  }

  stat(source: Id, at: Sequence, path: TreePath): Promise<Entry> {
    return answer(() => this.#view(source, at).stat(path))
  }

  list(source: Id, at: Sequence, path: TreePath, signal?: AbortSignal, after?: BinaryString): AsyncIterable<Entry[]> {
    return stream(() => this.#view(source, at).list(path, after), signal)
  }

  history(source: Id, path: TreePath, signal?: AbortSignal): AsyncIterable<HistoryRow> {
    return stream(() => historyOf(this.#find(source).rows, path), signal)
  }

  search(source: Id, request: SearchRequest, signal?: AbortSignal): AsyncIterable<SearchPage> {
    return stream(() => eachInTurn(searchNames(this.#find(source).rows, request)), signal)
  }

  diff(source: Id, from: Sequence, to: Sequence, path: TreePath, signal?: AbortSignal): AsyncIterable<DiffRow> {
    return stream(
      () => inTurns(diffViews({ from: this.#view(source, from), to: this.#view(source, to) }, path), signal),
      signal,
    )
  }

  manifest(source: Id, at: Sequence, paths: readonly TreePath[], signal?: AbortSignal): AsyncIterable<Buffer> {
    const wanted = paths.length === 0 ? [rootPath] : paths
    return stream(() => encodeManifest(manifestOf(this.#view(source, at), wanted)), signal)
  }

  content(
    source: Id,
    at: Sequence,
    path: TreePath,
    offset: number,
    bytes: number,
    signal?: AbortSignal,
  ): AsyncIterable<Buffer> {
    return stream(() => {
      const view = this.#view(source, at)
      return filled(view.read(fileVersion(view, view.find(path)), offset, offset + bytes))
    }, signal)
  }

  read(source: Id, at: Sequence, requests: readonly ReadRequest[], signal?: AbortSignal): AsyncIterable<Buffer> {
    return stream(() => readRequests(this.#view(source, at), requests), signal)
  }

  readResting(source: Id, at: Sequence, requests: readonly ReadRequest[], signal?: AbortSignal): AsyncIterable<Buffer> {
    return stream(() => restingContent(this.#view(source, at), requests), signal)
  }

  stretches(
    source: Id,
    at: Sequence,
    path: TreePath,
    wanted: StretchesRequest,
    signal?: AbortSignal,
  ): AsyncIterable<Buffer> {
    return stream(() => restingStretches(this.#view(source, at), path, wanted, this.#chunkKey), signal)
  }

  journalStretches(
    source: Id,
    at: Sequence,
    path: TreePath,
    after: Sequence,
    signal?: AbortSignal,
  ): AsyncIterable<Buffer> {
    return stream(() => journalStretches(this.#view(source, at), path, after, this.#chunkKey), signal)
  }

  extents(source: Id, at: Sequence, path: TreePath, range: Range): Promise<DataExtents> {
    return answer(() => dataExtents(this.#view(source, at), path, range))
  }

  verify(source: Id, at: Sequence, signal?: AbortSignal): AsyncIterable<VerifyEvent> {
    return stream(() => verifyView(this.#view(source, at), this.#clock), signal)
  }

  statistics(source: Id): Promise<Statistics> {
    return answer(() => statisticsOf(this.#find(source).rows))
  }

  #view(source: Id, at: Sequence): View {
    return new View({ ...this.#find(source), at })
  }
}

function statisticsOf(rows: IndexReader): Statistics {
  const state = rows.state()
  const first = rows.batchAfter(0)
  const earliest = state.checkpoint > 0 ? state.checkpoint_moment : first?.first_moment
  return {
    indexed: sequence(state.indexed),
    earliest: earliest === undefined ? undefined : moment(earliest),
    latest: state.indexed === 0 ? undefined : moment(state.moment),
    hole: lastHole(rows),
    changes: state.indexed - state.checkpoint,
    changedBytes: first === undefined ? 0 : state.bytes_total - first.bytes_total + first.bytes,
    broughtBytes: state.bytes_total,
    files: state.files,
    bytes: state.bytes,
    misfits: state.misfits,
  }
}

async function answer<T>(make: () => T): Promise<T> {
  try {
    return make()
  } catch (error) {
    throw indexFailure(error)
  }
}

/** Others who share the thread go on, and what they say is heard. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function* inTurns<T>(items: Iterable<T | undefined>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  for (const item of items) {
    if (item !== undefined) yield item
    else {
      await turn()
      signal?.throwIfAborted()
    }
  }
}

async function* eachInTurn<T>(items: Iterable<T>): AsyncGenerator<T> {
  for (const item of items) {
    yield item
    await turn()
  }
}

/** Begins when it is first asked; looks at the signal before each item. */
async function* stream<T>(
  begin: () => Iterable<T> | AsyncIterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  signal?.throwIfAborted()
  try {
    for await (const item of begin()) {
      yield item
      signal?.throwIfAborted()
    }
  } catch (error) {
    throw indexFailure(error)
  }
}
