import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { ApiClient } from '../../src/api/client.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { directoryStore } from '../../src/store/directory.ts'
import { initVault } from '../../src/vault-server/init.ts'
import { cataloguePath, derivedFolder, readVaultKey, socketName } from '../../src/vault-server/place.ts'
import { runVault } from '../../src/vault-server/run.ts'
import { Vault } from '../../src/vault/vault.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'

export interface ServedVault {
  readonly directory: string
  readonly operator: ApiClient
  readonly host: string
  readonly port: number
  readonly told: readonly string[]
}

/** A vault that is served until the test is over; `prepare` puts into it what is to be there before. */
export async function servedVault(
  context: TestContext,
  prepare: (vault: Vault, directory: string) => Promise<void> = async () => undefined,
): Promise<ServedVault> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-served-'))
  const parts = { clock: systemClock, random: systemRandom }
  await initVault({ directory, name: 'north', addresses: [] }, parts)
  await prepared(directory, prepare)
  const stop = new AbortController()
  const answers = Promise.withResolvers<number>()
  const told: string[] = []
  const tell = (line: string): void => {
    told.push(line)
    const port = /listens on 127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port !== undefined) answers.resolve(Number(port))
  }
  const host = '127.0.0.1'
  const ended = runVault({ directory, host, port: 0 }, { ...parts, tell }, stop.signal)
  context.after(async () => {
    stop.abort(new Error('the test is over'))
    await ended.catch((error: unknown) => assert.equal(error, stop.signal.reason))
    rmSync(directory, { recursive: true })
  })
  const port = await Promise.race([answers.promise, ended.then(() => assert.fail('the vault ended'))])
  return { operator: socketApiClient(join(directory, socketName)), directory, host, port, told }
}

async function prepared(directory: string, prepare: (vault: Vault, directory: string) => Promise<void>): Promise<void> {
  const store = await directoryStore(directory)
  const { key } = await readVaultKey(directory, store)
  mkdirSync(derivedFolder(directory), { recursive: true })
  const parts = { store, key, clock: systemClock, random: systemRandom, cataloguePath: cataloguePath(directory) }
  await using vault = await Vault.open(parts)
  await prepare(vault, directory)
}
