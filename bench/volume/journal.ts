import { mkdirSync, statSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { collectLessOften } from '../../src/base/heap.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { decodeBatch, encodeBatch } from '../../src/format/batch.ts'
import { diskPath } from '../../src/format/volume-tree.ts'
import type { Change } from '../../src/model/change.ts'
import { moment } from '../../src/model/moment.ts'
import { sequence } from '../../src/model/sequence.ts'
import { defaultPolicy, defaultVolume, type Id } from '../../src/model/source.ts'
import { directoryStore } from '../../src/store/directory.ts'
import { indexLocation } from '../../src/vault/index/location.ts'
import { Vault } from '../../src/vault/vault.ts'
import { openDerived } from '../../src/vault-server/derived.ts'
import { cataloguePath, derivedFolder, readVaultKey } from '../../src/vault-server/place.ts'
import { blockBytes, blockOf, changeOf, mark, volumeBytes } from '../dataset/volume-writes.ts'
import { lightBatch, momentOf } from './light-batch.ts'

/**
 * One step of the row `volume-view`, in a process of its own so that its memory is its own: makes the journal of a volume
 * longer, or brings the index of a vault up to date as its server does. Run with the step as JSON; answers with JSON.
 */
export type JournalStep = {
  readonly is: 'append' | 'index'
  /** Of a vault that is there, and not served. */
  readonly directory: string
  /** All that there are to be. */
  readonly writes: number
}

export interface Stepped {
  /** Writes that were not there before. */
  readonly writes: number
  readonly indexBytes: number
}

const volumeName = 'disk'

const writesPerBatch = 250
/** Batches on their way at once, as an agent that is behind ships them. */
const batchesUnderWay = 16

async function openVault(directory: string): Promise<Vault> {
  mkdirSync(derivedFolder(directory), { recursive: true })
  const store = await directoryStore(directory)
  const { key } = await readVaultKey(directory, store)
  const parts = { clock: systemClock, random: systemRandom }
  return Vault.open({ store, key, ...parts, cataloguePath: cataloguePath(directory) })
}

async function append({ directory, writes }: JournalStep): Promise<Stepped> {
  await using vault = await openVault(directory)
  const { agent, source } = await volumeOf(vault)
  await using appender = await vault.appender(agent, source, new AbortController().signal)
  if (appender.durable === 0) {
    const attributes = { mode: 0o600, uid: 0, gid: 0, modifiedNs: 0n, xattrs: [] }
    const content = { type: 'file', bytes: volumeBytes, extents: [] } as const
    await appender.batch(batchOf(1, [{ kind: 'put', path: diskPath, attributes, content }]))
  }
  const before = appender.durable - 1
  assertRealBatch(before)
  let underWay: Promise<void>[] = []
  for (let next = before; next < writes; next += writesPerBatch) {
    underWay.push(appender.batch(lightBatch(next, Math.min(writesPerBatch, writes - next))))
    if (underWay.length < batchesUnderWay) continue
    await Promise.all(underWay)
    underWay = []
  }
  await Promise.all(underWay)
  return { writes: writes - before, indexBytes: 0 }
}

async function volumeOf(vault: Vault): Promise<{ agent: Id; source: Id }> {
  const [known] = vault.registry.sources
  if (known !== undefined) return { agent: known.agent, source: known.id }
  const { id: agent } = await vault.registry.addAgent({
    name: 'server',
    certificates: [],
    enrolled: moment(momentOf(0)),
  })
  const { id: source } = await vault.addSource({
    ...{ name: volumeName, kind: 'volume', agent, paths: [], exclude: [], paused: false },
    volume: { ...defaultVolume, backing: '/nowhere/disk' },
    policy: { ...defaultPolicy, windowMs: 1e14 },
  })
  return { agent, source }
}

/** By the product's own codec: what makes the journal must not be the only one who can read it. */
function assertRealBatch(first: number): void {
  const changes = Array.from({ length: writesPerBatch }, (_, index): Change => {
    const data = Buffer.alloc(blockBytes)
    mark(data, first + index)
    return { kind: 'write', path: diskPath, at: blockOf(first + index) * blockBytes, data }
  })
  const real = decodeBatch(batchOf(changeOf(first), changes))
  if (!isDeepStrictEqual(decodeBatch(lightBatch(first, writesPerBatch)), real))
    throw new Error('a batch is not as it is to be')
}

const batchOf = (first: number, changes: readonly Change[]): Buffer =>
  encodeBatch({
    first: sequence(first),
    settled: true,
    cursor: Buffer.alloc(0),
    changes: changes.map((change, index) => ({ moment: moment(momentOf(first + index)), change })),
  })

async function index({ directory, writes }: JournalStep): Promise<Stepped> {
  await using vault = await openVault(directory)
  const { source } = await volumeOf(vault)
  const location = indexLocation(derivedFolder(directory), source)
  await using derived = await openDerived(vault, directory, { clock: systemClock, tell: console.error })
  await derived.reached(source, sequence(changeOf(writes - 1)), new AbortController().signal)
  const indexBytes = [location, `${location}-wal`].reduce((sum, file) => sum + statSync(file).size, 0)
  return { writes, indexBytes }
}

// As a vault's process does.
collectLessOften()
const step = JSON.parse(process.argv[2] as string) as JournalStep
process.stdout.write(JSON.stringify(step.is === 'append' ? await append(step) : await index(step)))
