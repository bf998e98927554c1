import { mkdir, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { directoryStore } from '../store/directory.ts'
import { lockDirectory } from '../base/lock-directory.ts'
import { Vault } from '../vault/vault.ts'
import { openDerived } from './derived.ts'
import { cataloguePath, derivedFolder, readVaultKey } from './place.ts'
import type { RunParts } from './run.ts'

/** Deletes what is derived and builds it anew from journals and packs. */
export async function reindexVault(
  request: { readonly directory: string },
  { clock, random, tell }: RunParts,
  signal: AbortSignal,
): Promise<{ journals: number; changes: number }> {
  const directory = resolve(request.directory)
  using _lock = lockDirectory(directory)
  const store = await directoryStore(directory)
  const { key } = await readVaultKey(directory, store)
  await rm(derivedFolder(directory), { recursive: true, force: true })
  await mkdir(derivedFolder(directory), { recursive: true, mode: 0o700 })
  tell('reading the packs')
  await using vault = await Vault.open({ store, key, clock, random, cataloguePath: cataloguePath(directory) })
  await using derived = await openDerived(vault, directory, { clock, tell })
  let changes = 0
  for (const source of vault.registry.sources) {
    signal.throwIfAborted()
    const { durable } = vault.journal(source.id)
    tell(`indexing ${source.name}: ${durable} changes`)
    await derived.reached(source.id, durable, signal)
    changes += durable
  }
  return { journals: vault.registry.sources.length, changes }
}
