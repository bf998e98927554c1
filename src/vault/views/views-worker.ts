import { createSecretKey } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../base/assert.ts'
import { systemClock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Range } from '../../model/change.ts'
import type { Moment } from '../../model/moment.ts'
import type { BinaryString, TreePath } from '../../model/path.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import { directoryStore } from '../../store/directory.ts'
import { IndexReader } from '../index/index-reader.ts'
import { indexLocation } from '../index/location.ts'
import { openToRead } from '../index/schema.ts'
import { Sealing } from '../index/sealing.ts'
import { answerCalls, grouped, owned, single } from '../threads/calls.ts'
import { openChunkReader, openJournalReader, type ReaderKeys } from '../vault.ts'
import type { AroundRequest } from './around.ts'
import { ContentReader } from './content-reader.ts'
import { LocalViews, type ViewSource } from './local-views.ts'
import type { HolesRequest, PointsRequest } from './points.ts'
import { RecentBatches } from './recent-batches.ts'
import type { SearchRequest } from './search.ts'
import type { ReadRequest, StretchesRequest } from './service.ts'

/** A thread that answers questions about any moment; `ThreadedViews` is its other end. */
export interface ViewsSetup {
  /** Of the vault's store. */
  readonly directory: string
  readonly indexFolder: string
  readonly keys: ReaderKeys
}

/** Every question names its source, with what is needed to open it and how far it is. */
export interface Asked {
  readonly source: Id
  readonly journalKey: Uint8Array
  readonly durable: Sequence
  readonly indexed: Sequence
}

export type ViewAnswers = typeof answers

interface Opened extends ViewSource, Disposable {
  durable: Sequence
}

const setup = workerData as ViewsSetup
const store = await directoryStore(setup.directory)
const chunks = openChunkReader(store, setup.keys)
const batches = new RecentBatches()
const opened = new Map<Id, Opened>()
const views = new LocalViews(
  (source) => {
    const found = opened.get(source)
    assert(found !== undefined, 'a source is opened before it is asked about')
    return found
  },
  systemClock,
  createSecretKey(setup.keys.chunkKey),
)

const answers = {
  resolve: (asked: Asked & { point: string; now: Moment }) =>
    single(open(asked).resolve(asked.source, asked.point, asked.now)),
  points: (asked: Asked & { request: PointsRequest }) => single(open(asked).points(asked.source, asked.request)),
  holes: (asked: Asked & { request: HolesRequest }) => single(open(asked).holes(asked.source, asked.request)),
  around: (asked: Asked & { at: Sequence; request: AroundRequest }) =>
    single(open(asked).around(asked.source, asked.at, asked.request)),
  stat: (asked: Asked & { at: Sequence; path: TreePath }) =>
    single(open(asked).stat(asked.source, asked.at, asked.path)),
  list: (asked: Asked & { at: Sequence; path: TreePath; after?: BinaryString }) =>
    open(asked).list(asked.source, asked.at, asked.path, undefined, asked.after),
  history: (asked: Asked & { path: TreePath }) => grouped(open(asked).history(asked.source, asked.path)),
  search: (asked: Asked & { request: SearchRequest }, signal: AbortSignal) =>
    open(asked).search(asked.source, asked.request, signal),
  diff: (asked: Asked & { from: Sequence; to: Sequence; path: TreePath }, signal: AbortSignal) =>
    grouped(open(asked).diff(asked.source, asked.from, asked.to, asked.path, signal)),
  manifest: (asked: Asked & { at: Sequence; paths: readonly TreePath[] }) =>
    owned(open(asked).manifest(asked.source, asked.at, asked.paths)),
  content: (asked: Asked & { at: Sequence; path: TreePath; offset: number; bytes: number }) =>
    owned(open(asked).content(asked.source, asked.at, asked.path, asked.offset, asked.bytes)),
  read: (asked: Asked & { at: Sequence; requests: readonly ReadRequest[] }) =>
    owned(open(asked).read(asked.source, asked.at, asked.requests)),
  readResting: (asked: Asked & { at: Sequence; requests: readonly ReadRequest[] }) =>
    owned(open(asked).readResting(asked.source, asked.at, asked.requests)),
  stretches: (asked: Asked & { at: Sequence; path: TreePath; request: StretchesRequest }) =>
    owned(open(asked).stretches(asked.source, asked.at, asked.path, asked.request)),
  journalStretches: (asked: Asked & { at: Sequence; path: TreePath; after: Sequence }) =>
    owned(open(asked).journalStretches(asked.source, asked.at, asked.path, asked.after)),
  extents: (asked: Asked & { at: Sequence; path: TreePath; range: Range }) =>
    single(open(asked).extents(asked.source, asked.at, asked.path, asked.range)),
  verify: (asked: Asked & { at: Sequence }) => open(asked).verify(asked.source, asked.at),
  statistics: (asked: Asked) => single(open(asked).statistics(asked.source)),
  forget: (source: Id) => {
    forget(source)
    return single(undefined)
  },
  end: () => {
    for (const source of opened.keys()) forget(source)
    chunks[Symbol.dispose]()
    return single(undefined)
  },
}

/** An index that is behind what is said of it was made anew, and the file that is open is no longer its file. */
function open(asked: Asked): LocalViews {
  const found = opened.get(asked.source)
  if (found !== undefined && isCurrent(found, asked.indexed)) found.durable = asked.durable
  else {
    forget(asked.source)
    opened.set(asked.source, openSource(asked))
  }
  return views
}

function isCurrent({ rows }: Opened, indexed: Sequence): boolean {
  try {
    return rows.kept().indexed >= indexed
  } catch {
    return false
  }
}

function openSource({ source, journalKey, durable }: Asked): Opened {
  const sealing = new Sealing(createSecretKey(journalKey))
  const database = openToRead(indexLocation(setup.indexFolder, source), sealing)
  if (database === undefined) {
    throw new TidemarkError('point-unreachable', {
      message: 'nothing of this source is indexed yet',
      hint: 'ask again in a moment',
    })
  }
  const made: Opened = {
    durable,
    rows: new IndexReader(database, sealing),
    content: new ContentReader(
      openJournalReader(store, source, journalKey, () => made.durable),
      chunks,
      batches,
    ),
    [Symbol.dispose]: () => database.close(),
  }
  return made
}

function forget(source: Id): void {
  opened.get(source)?.[Symbol.dispose]()
  opened.delete(source)
}

assert(parentPort !== null, 'this file is run as a worker thread')
answerCalls(parentPort, answers)
