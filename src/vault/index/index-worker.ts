import { mkdirSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../base/assert.ts'
import { systemClock } from '../../base/clock.ts'
import { type ErrorCode, messageOf, TidemarkError } from '../../base/errors.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import { directoryStore } from '../../store/directory.ts'
import { answerCalls, single } from '../threads/calls.ts'
import { Latest } from '../threads/latest.ts'
import { openJournalReader } from '../vault.ts'
import { Indexes } from './indexes.ts'
import { indexLocation } from './location.ts'

/** The thread that keeps the indexes of all journals of a vault; `IndexThread` is its other end. */
export interface IndexSetup {
  /** Of the vault's store. */
  readonly directory: string
  readonly indexFolder: string
}

/** How far an index has come, or why it does not come further. */
export interface IndexNews {
  readonly source: Id
  readonly indexed: Sequence
  readonly failure?: { readonly code: ErrorCode | undefined; readonly message: string; readonly hint?: string }
}

export type IndexAnswers = typeof answers

const setup = workerData as IndexSetup
mkdirSync(setup.indexFolder, { recursive: true, mode: 0o700 })
const store = await directoryStore(setup.directory)
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
  end: () => single(indexes[Symbol.asyncDispose]()),
}

assert(parentPort !== null, 'this file is run as a worker thread')
answerCalls(parentPort, answers)

async function* nothing(): AsyncGenerator<never> {}

function failureOf(error: unknown): NonNullable<IndexNews['failure']> {
  const known = error instanceof TidemarkError ? error : undefined
  const hint = known?.hint
  return { code: known?.code, message: messageOf(error), ...(hint === undefined ? {} : { hint }) }
}
