import { TidemarkError } from '../../base/errors.ts'
import type { Range } from '../../model/change.ts'
import type { Moment } from '../../model/moment.ts'
import type { BinaryString, TreePath } from '../../model/path.ts'
import type { RecoveryPoint, Span } from '../../model/recovery-point.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import type { IndexProgress } from '../index/indexes.ts'
import type { Calls } from '../threads/calls.ts'
import { Thread } from '../threads/thread.ts'
import type { Around, AroundRequest } from './around.ts'
import type { DiffRow } from './diff.ts'
import type { HistoryRow } from './history.ts'
import type { HolesRequest, PointRow, PointsRequest } from './points.ts'
import type { SearchPage, SearchRequest } from './search.ts'
import type { DataExtents, ReadRequest, Statistics, StretchesRequest, VerifyEvent, ViewService } from './service.ts'
import type { Entry } from './view.ts'
import type { Asked, ViewAnswers, ViewsSetup } from './views-worker.ts'

export interface ThreadedViewsParts {
  readonly setup: ViewsSetup
  /** Throws `not-found` for an unknown source. */
  readonly journalKey: (source: Id) => Uint8Array
  readonly progress: IndexProgress
  readonly threads?: number
}

const threadsDefault = 2

/** Answers in threads of their own, each question in the one that has the least to do. */
export class ThreadedViews implements ViewService, AsyncDisposable {
  readonly #parts: ThreadedViewsParts
  #threads: Thread<ViewAnswers>[] = []
  #isClosing = false

  constructor(parts: ThreadedViewsParts) {
    this.#parts = parts
    for (let count = parts.threads ?? threadsDefault; count > 0; count--) this.#threads.push(this.#start())
  }

  /** Questions that are being answered. */
  get underWay(): number {
    return this.#threads.reduce((sum, { calls }) => sum + calls.underWay, 0)
  }

  resolve(source: Id, point: string, now: Moment): Promise<RecoveryPoint> {
    return this.#one(source, (calls, asked) => calls.one('resolve', { ...asked, point, now }))
  }

  points(source: Id, request: PointsRequest): Promise<PointRow[]> {
    return this.#one(source, (calls, asked) => calls.one('points', { ...asked, request }))
  }

  holes(source: Id, request: HolesRequest): Promise<Span[]> {
    return this.#one(source, (calls, asked) => calls.one('holes', { ...asked, request }))
  }

  around(source: Id, at: Sequence, request: AroundRequest): Promise<Around> {
    return this.#one(source, (calls, asked) => calls.one('around', { ...asked, at, request }))
  }

  stat(source: Id, at: Sequence, path: TreePath): Promise<Entry> {
    return this.#one(source, (calls, asked) => calls.one('stat', { ...asked, at, path }))
  }

  statistics(source: Id): Promise<Statistics> {
    return this.#one(source, (calls, asked) => calls.one('statistics', asked))
  }

  list(source: Id, at: Sequence, path: TreePath, signal?: AbortSignal, after?: BinaryString): AsyncIterable<Entry[]> {
    const from = after === undefined ? {} : { after }
    return this.#stream(source, (calls, asked) => calls.stream('list', { ...asked, at, path, ...from }, signal))
  }

  history(source: Id, path: TreePath, signal?: AbortSignal): AsyncIterable<HistoryRow> {
    return flat(this.#stream(source, (calls, asked) => calls.stream('history', { ...asked, path }, signal)))
  }

  search(source: Id, request: SearchRequest, signal?: AbortSignal): AsyncIterable<SearchPage> {
    return this.#stream(source, (calls, asked) => calls.stream('search', { ...asked, request }, signal))
  }

  diff(source: Id, from: Sequence, to: Sequence, path: TreePath, signal?: AbortSignal): AsyncIterable<DiffRow> {
    return flat(this.#stream(source, (calls, asked) => calls.stream('diff', { ...asked, from, to, path }, signal)))
  }

  manifest(source: Id, at: Sequence, paths: readonly TreePath[], signal?: AbortSignal): AsyncIterable<Buffer> {
    return buffers(this.#stream(source, (calls, asked) => calls.stream('manifest', { ...asked, at, paths }, signal)))
  }

  content(
    source: Id,
    at: Sequence,
    path: TreePath,
    offset: number,
    bytes: number,
    signal?: AbortSignal,
  ): AsyncIterable<Buffer> {
    const wanted = { at, path, offset, bytes }
    return buffers(this.#stream(source, (calls, asked) => calls.stream('content', { ...asked, ...wanted }, signal)))
  }

  read(source: Id, at: Sequence, requests: readonly ReadRequest[], signal?: AbortSignal): AsyncIterable<Buffer> {
    return buffers(this.#stream(source, (calls, asked) => calls.stream('read', { ...asked, at, requests }, signal)))
  }

  readResting(source: Id, at: Sequence, requests: readonly ReadRequest[], signal?: AbortSignal): AsyncIterable<Buffer> {
    const wanted = { at, requests }
    return buffers(this.#stream(source, (calls, asked) => calls.stream('readResting', { ...asked, ...wanted }, signal)))
  }

  stretches(
    source: Id,
    at: Sequence,
    path: TreePath,
    request: StretchesRequest,
    signal?: AbortSignal,
  ): AsyncIterable<Buffer> {
    const wanted = { at, path, request }
    return buffers(this.#stream(source, (calls, asked) => calls.stream('stretches', { ...asked, ...wanted }, signal)))
  }

  journalStretches(
    source: Id,
    at: Sequence,
    path: TreePath,
    after: Sequence,
    signal?: AbortSignal,
  ): AsyncIterable<Buffer> {
    const wanted = { at, path, after }
    return buffers(
      this.#stream(source, (calls, asked) => calls.stream('journalStretches', { ...asked, ...wanted }, signal)),
    )
  }

  extents(source: Id, at: Sequence, path: TreePath, range: Range): Promise<DataExtents> {
    return this.#one(source, (calls, asked) => calls.one('extents', { ...asked, at, path, range }))
  }

  verify(source: Id, at: Sequence, signal?: AbortSignal): AsyncIterable<VerifyEvent> {
    return this.#stream(source, (calls, asked) => calls.stream('verify', { ...asked, at }, signal))
  }

  /** Closes what the threads have open of a source that was removed. */
  async forget(source: Id): Promise<void> {
    for (const thread of this.#threads.filter(({ isLost }) => !isLost)) {
      try {
        await thread.calls.one('forget', source)
      } catch (error) {
        if (!thread.isLost) throw error
      }
    }
  }

  async #one<T>(source: Id, ask: (calls: Calls<ViewAnswers>, asked: Asked) => Promise<T>): Promise<T> {
    return ask(this.#calls(), this.#asked(source))
  }

  async *#stream<T>(source: Id, ask: (calls: Calls<ViewAnswers>, asked: Asked) => AsyncIterable<T>): AsyncGenerator<T> {
    yield* ask(this.#calls(), this.#asked(source))
  }

  #asked(source: Id): Asked {
    const { journalKey, progress } = this.#parts
    // A copy, because whatever shares its memory would cross with it.
    const key = new Uint8Array(journalKey(source))
    return { source, journalKey: key, durable: progress.durable(source), indexed: progress.indexed(source) }
  }

  #calls(): Calls<ViewAnswers> {
    if (this.#isClosing) throw new TidemarkError('interrupted', { message: 'the vault is closing' })
    this.#threads = this.#threads.map((thread) => (thread.isLost ? this.#start() : thread))
    return this.#threads.map(({ calls }) => calls).reduce((a, b) => (b.underWay < a.underWay ? b : a))
  }

  #start(): Thread<ViewAnswers> {
    return new Thread<ViewAnswers>({
      file: './views-worker',
      beside: import.meta.url,
      setup: this.#parts.setup,
      name: 'views',
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true
    for (const thread of this.#threads) await thread.end(() => thread.calls.one('end', undefined as never))
  }
}

async function* flat<T>(groups: AsyncIterable<readonly T[]>): AsyncGenerator<T> {
  for await (const group of groups) yield* group
}

async function* buffers(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  for await (const { buffer, byteOffset, byteLength } of pieces) yield Buffer.from(buffer, byteOffset, byteLength)
}
