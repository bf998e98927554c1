import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import type { Change } from '../../src/model/change.ts'
import type { MemoryDisk } from '../../src/store/memory.ts'
import type { JournalAppender } from '../../src/vault/appender.ts'
import type { Vault } from '../../src/vault/vault.ts'
import { addAgentWithSource, batchOf, blockOf, newTestVault, putFile, type WorldParts } from './vault-world.ts'

/** How tests begin of what may happen to the disk of a vault: a vault on a simulated one, with an agent and a source. */
export async function memoryVault(
  disk: MemoryDisk,
  told: Omit<WorldParts, 'store' | 'clock'> & { readonly clock?: Clock },
  storeOf = (of: MemoryDisk) => of.store(),
) {
  /** For each opening anew: a disk is worked on by the last one who opened it. */
  const parts = (): WorldParts => ({ clock: systemClock, ...told, store: storeOf(disk) })
  const vault = await newTestVault(parts())
  return { disk, parts, vault, ...(await addAgentWithSource(vault, 'a')) }
}

/** Sends contents in a block, and a batch from change `at` on: a file made of them, and then other changes. */
export async function appendFile(
  { vault, appender }: { readonly vault: Vault; readonly appender: JournalAppender },
  at: number,
  path: string,
  contents: readonly Uint8Array[],
  ...others: readonly Change[]
): Promise<void> {
  const { chunks, bytes } = blockOf(vault, ...contents)
  await appender.block(bytes)
  await appender.batch(batchOf(at, [putFile(path, chunks), ...others]))
}

/** A folder that goes with the test. */
export async function scratchFolder(context: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-vault-'))
  context.after(() => rm(folder, { recursive: true }))
  return folder
}

export const scratchCatalogue = async (context: TestContext): Promise<string> =>
  join(await scratchFolder(context), 'catalogue')
