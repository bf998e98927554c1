import { readdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Tell } from '../base/tell.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { IndexThread } from '../vault/index/index-thread.ts'
import { sourceOfIndexFile } from '../vault/index/location.ts'
import type { Vault } from '../vault/vault.ts'
import type { ViewService } from '../vault/views/service.ts'
import { ThreadedViews } from '../vault/views/threaded-views.ts'
import { waitingViews } from '../vault/views/waiting-views.ts'
import { derivedFolder } from './place.ts'

/** What is derived from the journals of a vault, kept up to date in threads of its own, and the views over it. */
export interface Derived extends AsyncDisposable {
  readonly views: ViewService
  readonly indexes: IndexThread
  /** Questions to views that are being answered. */
  readonly openViews: number
  /** Begins to index a source that was added after opening. */
  add(source: Id): Promise<void>
  /** Lets go of a source that was removed from the vault. */
  remove(source: Id): Promise<void>
  /** Resolves once the index holds everything up to `at`. */
  reached(source: Id, at: Sequence, signal: AbortSignal): Promise<void>
}

export async function openDerived(
  vault: Vault,
  directory: string,
  { clock, tell }: { readonly clock: Clock; readonly tell: Tell },
): Promise<Derived> {
  const setup = { directory: resolve(directory), indexFolder: derivedFolder(directory), keys: vault.readerKeys }
  await removeStrayIndexes(vault, setup.indexFolder)
  const journalKey = (source: Id): Uint8Array => vault.registry.journalKey(source)
  const indexes = new IndexThread({
    setup,
    vault,
    clock,
    lost: (reason) => tell(`FAULT: ${reason.message}`, { error: reason }),
  })
  const threads = new ThreadedViews({ setup, journalKey, progress: indexes })
  const add = (source: Id): Promise<void> => indexes.add(source, journalKey(source), vault.journal(source).durable)
  const listening = vault.onDurable(({ source, durable }) => indexes.grown(source, durable))
  for (const { id } of vault.registry.sources) await add(id)
  return {
    views: waitingViews(threads, indexes, clock),
    indexes,
    get openViews() {
      return threads.underWay
    },
    add,
    remove: async (source) => {
      await threads.forget(source)
      await indexes.remove(source)
    },
    reached: (source, at, signal) => indexes.reached(source, at, signal),
    [Symbol.asyncDispose]: async () => {
      listening[Symbol.dispose]()
      await threads[Symbol.asyncDispose]()
      await indexes[Symbol.asyncDispose]()
    },
  }
}

/** Indexes of sources that were removed shortly before the vault ended. */
async function removeStrayIndexes({ registry }: Vault, indexFolder: string): Promise<void> {
  const known = new Set<string>([...registry.sources, ...registry.damagedSources].map(({ id }) => id))
  for (const name of await readdir(indexFolder)) {
    const source = sourceOfIndexFile(name)
    if (source !== undefined && !known.has(source)) await rm(join(indexFolder, name))
  }
}
