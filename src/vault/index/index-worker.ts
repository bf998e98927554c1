import { createSecretKey } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../base/assert.ts'
import { systemClock } from '../../base/clock.ts'
import { type ErrorCode, messageOf, TidemarkError } from '../../base/errors.ts'
import { systemRandom } from '../../base/random.ts'
import type { Chunk } from '../../format/block.ts'
import type { Moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import { directoryStore } from '../../store/directory.ts'
import { writeCheckpoint } from '../checkpoint.ts'
import { segmentStarts } from '../retention/segment-starts.ts'
import { ContentReader } from '../views/content-reader.ts'
import { Calls, single } from '../threads/calls.ts'
import { Latest } from '../threads/latest.ts'
import { retain } from '../retention/retain.ts'
import { chunksInUse } from '../retention/chunk-filter.ts'
import { openChunkReader, openJournalReader, type ReaderKeys } from '../vault.ts'
import { Indexes } from './indexes.ts'
import { indexLocation } from './location.ts'

/** The thread that keeps the indexes of all journals of a vault; `IndexThread` is its other end. */
export interface IndexSetup {
  /** Of the vault's store. */
  readonly directory: string
  readonly indexFolder: string
  readonly keys: ReaderKeys
}

/** How far an index has come, or why it does not come further. */
export interface IndexNews {
  readonly source: Id
  readonly indexed: Sequence
  readonly failure?: { readonly code: ErrorCode | undefined; readonly message: string; readonly hint?: string }
}

export type IndexAnswers = typeof answers

interface RetainRequest {
  readonly source: Id
  readonly journalKey: Uint8Array
  readonly before: Moment
}

/** What this thread asks of the vault while it forgets what has left a window. */
export type VaultAnswers = {
  readonly keep: (request: { source: Id; chunks: readonly Chunk[] }) => AsyncIterable<void>
  readonly dropBefore: (request: { source: Id; at: Sequence }) => AsyncIterable<void>
}

const setup = workerData as IndexSetup
mkdirSync(setup.indexFolder, { recursive: true, mode: 0o700 })
const store = await directoryStore(setup.directory)
const chunks = openChunkReader(store, setup.keys)
const chunkKey = createSecretKey(setup.keys.chunkKey)
const news = new Latest<Id, IndexNews>()
const indexes = new Indexes({
  location: (source) => indexLocation(setup.indexFolder, source),
  clock: systemClock,
  indexed: (source, indexed) => news.put(source, { source, indexed }),
  failed: (source, error) => news.put(source, { source, indexed: indexes.indexed(source), failure: failureOf(error) }),
})

const answers = {
  add: ({ source, journalKey }: { source: Id; journalKey: Uint8Array }) => {
    indexes.add(
      source,
      openJournalReader(store, source, journalKey, () => indexes.durable(source)),
      journalKey,
    )
    return nothing()
  },
  grown: ({ source, durable }: { source: Id; durable: Sequence }) => {
    indexes.grown(source, durable)
    return nothing()
  },
  remove: (source: Id) => single(indexes.remove(source)),
  news: (_: undefined, signal: AbortSignal) => news.stream(signal),
  retain: (request: RetainRequest) => single(retainSource(request)),
  chunksInUse: (): AsyncGenerator<Uint8Array> => single(inUse()),
  end: () => single(indexes[Symbol.asyncDispose]()),
}

assert(parentPort !== null, 'this file is run as a worker thread')
const vault = new Calls<VaultAnswers>(parentPort, answers)

/** Of everything that is durable now. An index may be behind what was last told of it: it may have been made anew. */
async function inUse(): Promise<Uint8Array> {
  const wanted = indexes.sources.map((source) => [source, indexes.durable(source)] as const)
  while (wanted.some(([source, durable]) => indexes.indexed(source) < durable)) {
    for (const [source, durable] of wanted) await indexes.reached(source, durable)
  }
  const { bits } = await chunksInUse(wanted.map(([source]) => indexes.indexer(source)))
  return bits
}

async function retainSource({ source, journalKey, before }: RetainRequest): Promise<Sequence | undefined> {
  await indexes.reached(source, indexes.durable(source))
  const key = createSecretKey(journalKey)
  const journal = openJournalReader(store, source, journalKey, () => indexes.durable(source))
  return retain(
    {
      indexer: indexes.indexer(source),
      content: new ContentReader(journal, chunks),
      chunkKey,
      keep: (kept) => vault.one('keep', { source, chunks: kept.map(copied) }),
      segmentStarts: () => segmentStarts(store, source, key),
      writeCheckpoint: (at, moment, changes) =>
        writeCheckpoint({ store, random: systemRandom }, source, key, { at, moment, changes }),
      dropBefore: (at) => vault.one('dropBefore', { source, at }),
    },
    before,
  )
}

/** Its bytes alone: whatever shares their memory would cross with them. */
const copied = ({ id, data }: Chunk): Chunk => ({ id, data: new Uint8Array(data) })

async function* nothing(): AsyncGenerator<never> {}

function failureOf(error: unknown): NonNullable<IndexNews['failure']> {
  const known = error instanceof TidemarkError ? error : undefined
  const hint = known?.hint
  return { code: known?.code, message: messageOf(error), ...(hint === undefined ? {} : { hint }) }
}
