import { createSecretKey, type KeyObject } from 'node:crypto'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { Indexer } from '../vault/index/indexer.ts'
import type { Vault } from '../vault/vault.ts'
import { ContentReader } from '../vault/views/content-reader.ts'
import { LocalViews } from '../vault/views/local-views.ts'
import type { ViewService } from '../vault/views/service.ts'
import { waitingViews } from '../vault/views/waiting-views.ts'
import { derivedFolder } from './place.ts'

/** What is derived from the journals of a vault, kept up to date, and the views over it. */
export interface Derived extends AsyncDisposable {
  readonly views: ViewService
  indexer(source: Id): Indexer
  /** Resolves once the index holds everything up to `at`. */
  reached(source: Id, at: Sequence, signal: AbortSignal): Promise<void>
}

export async function openDerived(vault: Vault, directory: string, clock: Clock): Promise<Derived> {
  const indexers = new Map<Id, Indexer>()
  const contents = new Map<Id, ContentReader>()
  const indexer = (source: Id): Indexer => {
    const known = indexers.get(source)
    if (known) return known
    const journal = vault.journal(source)
    const made = new Indexer({
      location: join(derivedFolder(directory), `${source}.sqlite`),
      indexKey: indexKeyOf(vault, source),
      journal,
      clock,
    })
    indexers.set(source, made)
    made.durable(journal.durable)
    return made
  }
  const content = (source: Id): ContentReader => {
    const known = contents.get(source)
    if (known) return known
    const made = new ContentReader(vault.journal(source), vault.chunks)
    contents.set(source, made)
    return made
  }
  const listening = vault.onDurable(({ source, durable }) => indexer(source).durable(durable))
  for (const { id } of vault.registry.sources) indexer(id)
  const local = new LocalViews((source) => ({ rows: indexer(source).rows, content: content(source) }), clock)
  const views = waitingViews(
    local,
    {
      durable: (source): Sequence => vault.journal(source).durable,
      indexed: (source): Sequence => indexer(source).indexed,
      reached: (source, at, signal) => indexer(source).reached(at, signal),
    },
    clock,
  )
  return {
    views,
    indexer,
    reached: (source, at, signal) => indexer(source).reached(at, signal),
    [Symbol.asyncDispose]: async () => {
      listening[Symbol.dispose]()
      for (const one of indexers.values()) await one[Symbol.asyncDispose]()
    },
  }
}

export const indexKeyOf = (vault: Vault, source: Id): KeyObject => createSecretKey(vault.registry.journalKey(source))
