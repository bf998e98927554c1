import { createSecretKey } from 'node:crypto'
import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { encodeBatch } from '../../src/format/batch.ts'
import { encodeBlock } from '../../src/format/block.ts'
import { chunkIdOf } from '../../src/format/keys.ts'
import { batchChangesMax } from '../../src/model/batch.ts'
import type { Change } from '../../src/model/change.ts'
import { type Moment, moment } from '../../src/model/moment.ts'
import { type Sequence, sequence } from '../../src/model/sequence.ts'
import { defaultPolicy, type Id } from '../../src/model/source.ts'
import { directoryStore } from '../../src/store/directory.ts'
import type { JournalAppender } from '../../src/vault/appender.ts'
import { IndexThread } from '../../src/vault/index/index-thread.ts'
import { indexLocation } from '../../src/vault/index/location.ts'
import { createKeyFile, readKeyFile } from '../../src/vault/vault-key.ts'
import { createVault, Vault } from '../../src/vault/vault.ts'
import { ThreadedViews } from '../../src/vault/views/threaded-views.ts'
import { Chance } from '../dataset/chance.ts'
import { MadeChanges } from '../dataset/changes.ts'
import { randomLooking } from '../dataset/database-pages.ts'

/**
 * One step of the row `view`, in a process of its own so that its memory is its own: makes a vault with one long
 * journal, or looks at random points of it. Run by view.ts with the step as JSON; answers with JSON.
 */
export type ViewStep =
  | { readonly is: 'make'; readonly directory: string; readonly changes: number; readonly files: number }
  | { readonly is: 'look'; readonly directory: string; readonly files: number; readonly samples: number }

export interface Made {
  readonly changes: number
  readonly appendedSeconds: number
  readonly indexedSeconds: number
  readonly indexBytes: number
}

/** Milliseconds of each sample. */
export interface Looked {
  /** A thread of views that was just started, its first answer included. */
  readonly first: readonly number[]
  readonly open: readonly number[]
  readonly list: readonly number[]
  readonly read: readonly number[]
}

const contents = 2000
const contentBytes = 4096
const chunksPerBlock = 100
const changesPerBatch = 50
/** Batches on their way at once, as an agent that is behind ships them. */
const batchesUnderWay = 100
const firsts = 20
const began = 1_700_000_000_000_000

async function make({ directory, changes, files }: Extract<ViewStep, { is: 'make' }>): Promise<Made> {
  mkdirSync(directory, { recursive: true })
  const store = await directoryStore(join(directory, 'vault'))
  const key = await createKeyFile(join(directory, 'key'), systemRandom)
  const parts = { store, key, clock: systemClock, random: systemRandom }
  await createVault(parts, { name: 'bench', keyOrigin: { from: 'file' } })
  await using vault = await Vault.open({ ...parts, cataloguePath: join(directory, 'catalogue') })
  const { id: agent } = await vault.registry.addAgent({ name: 'server', certificates: [], enrolled: moment(began) })
  const definition = { name: 'made', kind: 'files', agent, paths: ['/'], exclude: [], paused: false } as const
  const { id: source } = await vault.addSource({ ...definition, policy: defaultPolicy })
  await using indexes = openIndexes(vault, directory)
  using _growing = vault.onDurable((growth) => indexes.grown(growth.source, growth.durable))
  await indexes.add(source, vault.registry.journalKey(source), sequence(0))

  await using appender = await vault.appender(agent, source, new AbortController().signal)
  const chance = new Chance(1)
  const chunks = await sendContents(vault, appender)
  const made = new MadeChanges(files, chance, () => ({ bytes: contentBytes, chunk: chance.of(chunks) }))
  const since = performance.now()
  await append(appender, made.baseline(), batchChangesMax)
  await append(appender, made.live(Math.max(0, changes - appender.durable)), changesPerBatch)
  const appendedSeconds = (performance.now() - since) / 1000
  await indexes.reached(source, appender.durable)
  const indexedSeconds = (performance.now() - since) / 1000
  const index = indexLocation(join(directory, 'indexes'), source)
  const indexBytes = statSync(index).size + statSync(`${index}-wal`).size
  return { changes: appender.durable, appendedSeconds, indexedSeconds, indexBytes }
}

const openIndexes = (vault: Vault, directory: string): IndexThread =>
  new IndexThread({ setup: setupOf(vault, directory), vault, clock: systemClock })

const setupOf = (vault: Vault, directory: string) => ({
  directory: join(directory, 'vault'),
  indexFolder: join(directory, 'indexes'),
  keys: vault.readerKeys,
})

async function sendContents(vault: Vault, appender: JournalAppender) {
  const chunkKey = createSecretKey(vault.chunkKey)
  const chunks = Array.from({ length: contents }, (_, number) => {
    const data = randomLooking(number, contentBytes)
    return { id: chunkIdOf(chunkKey, data), data }
  })
  for (let at = 0; at < contents; at += chunksPerBlock) {
    await appender.block(encodeBlock(chunks.slice(at, at + chunksPerBlock)))
  }
  return chunks.map(({ id }) => id)
}

async function append(appender: JournalAppender, changes: Iterable<Change>, perBatch: number): Promise<void> {
  let next = appender.durable as number
  let group: Change[] = []
  let underWay: Promise<void>[] = []
  const send = async (): Promise<void> => {
    const first = sequence(next + 1)
    const stamped = group.map((change) => ({ moment: moment(began + ++next * 1000), change }))
    underWay.push(appender.batch(encodeBatch({ first, settled: true, cursor: Buffer.alloc(0), changes: stamped })))
    group = []
    if (underWay.length < batchesUnderWay) return
    await Promise.all(underWay)
    underWay = []
  }
  for (const change of changes) {
    group.push(change)
    if (group.length === perBatch) await send()
  }
  if (group.length > 0) await send()
  await Promise.all(underWay)
}

async function look({ directory, files, samples }: Extract<ViewStep, { is: 'look' }>): Promise<Looked> {
  const store = await directoryStore(join(directory, 'vault'))
  const key = await readKeyFile(join(directory, 'key'))
  const parts = { store, key, clock: systemClock, random: systemRandom }
  await using vault = await Vault.open({ ...parts, cataloguePath: join(directory, 'catalogue') })
  const [source] = vault.registry.sources.map(({ id }) => id) as [Id]
  const { durable } = vault.journal(source)
  const chance = new Chance(2)
  const made = new MadeChanges(files, chance, () => {
    throw new Error('nothing is made here')
  })
  const journalKey = (of: Id): Uint8Array => vault.registry.journalKey(of)
  const progress = { durable: () => durable, indexed: () => durable, reached: () => Promise.resolve() }
  const openViews = (): ThreadedViews =>
    new ThreadedViews({ setup: setupOf(vault, directory), journalKey, progress, threads: 1 })
  /** Every file is there from the end of the baseline on. */
  const anyPoint = (): string => `seq:${made.baselineChanges + chance.below(durable - made.baselineChanges)}`
  const open = async (views: ThreadedViews): Promise<Sequence> => {
    const { sequence: at } = await views.resolve(source, anyPoint(), (began + durable * 1000) as Moment)
    return at
  }
  const list = async (views: ThreadedViews, at: Sequence): Promise<void> => {
    let entries = 0
    for await (const page of views.list(source, at, made.folderOf(chance.below(files)))) entries += page.length
    if (entries < made.folderEntries) throw new Error(`${entries} entries were listed`)
  }
  const read = async (views: ThreadedViews, at: Sequence): Promise<void> => {
    let bytes = 0
    for await (const piece of views.content(source, at, made.pathOf(chance.below(files)), 0, contentBytes))
      bytes += piece.length
    if (bytes === 0) throw new Error('nothing was read')
  }

  const looked = { first: [] as number[], open: [] as number[], list: [] as number[], read: [] as number[] }
  for (let count = 0; count < firsts; count++) {
    const since = performance.now()
    await using views = openViews()
    const at = await open(views)
    await list(views, at)
    await read(views, at)
    looked.first.push(performance.now() - since)
  }
  await using views = openViews()
  await open(views)
  for (let count = 0; count < samples; count++) {
    const since = performance.now()
    const at = await open(views)
    const opened = performance.now()
    await list(views, at)
    const listed = performance.now()
    await read(views, at)
    const done = performance.now()
    looked.open.push(opened - since)
    looked.list.push(listed - opened)
    looked.read.push(done - listed)
  }
  return looked
}

const step = JSON.parse(process.argv[2] as string) as ViewStep
process.stdout.write(JSON.stringify(step.is === 'make' ? await make(step) : await look(step)))
