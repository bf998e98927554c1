import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { HeldClock } from '../../../test/support/held-clock.ts'
import { addAgentWithSource, batchOf, newTestVault, start as began, write } from '../../../test/support/vault-world.ts'
import { systemClock } from '../../base/clock.ts'
import { isCode, type TidemarkError } from '../../base/errors.ts'
import { systemRandom } from '../../base/random.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { TreePath } from '../../model/path.ts'
import { type Sequence, sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import { directoryStore } from '../../store/directory.ts'
import { checkpointName } from '../names.ts'
import { ThreadedViews } from '../views/threaded-views.ts'
import { waitingViews } from '../views/waiting-views.ts'
import { IndexThread } from './index-thread.ts'

const forever = new AbortController().signal
const log = 'log' as TreePath
const interrupted = (error: unknown): boolean => isCode(error, 'interrupted')

/** Every thread that is started while a test runs, the newest last. */
function startedThreads(context: TestContext): Worker[] {
  const workers: Worker[] = []
  const started = (worker: Worker): void => void workers.push(worker)
  process.on('worker', started)
  context.after(() => process.off('worker', started))
  return workers
}

/** A real vault in a folder with a source, and what is needed to start its threads. */
async function inVault(
  context: TestContext,
  use: (made: Awaited<ReturnType<typeof world>>) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-threads-'))
  context.after(() => rm(folder, { recursive: true }))
  const made = await world(folder)
  await using _vault = made.vault
  await use(made)
}

async function world(folder: string) {
  const directory = join(folder, 'vault')
  const store = await directoryStore(directory)
  const cataloguePath = join(folder, 'catalogue')
  const limits = { segmentBytes: 200 }
  const vault = await newTestVault({ store, clock: systemClock, random: systemRandom, cataloguePath, limits })
  const first = await addAgentWithSource(vault, 'web')
  const setup = { directory, indexFolder: join(folder, 'indexes'), keys: vault.readerKeys }
  const lost: TidemarkError[] = []
  const rests = new HeldClock()
  const start = (): IndexThread => new IndexThread({ setup, vault, clock: rests, lost: (reason) => lost.push(reason) })
  const add = (indexes: IndexThread, source: Id): Promise<void> =>
    indexes.add(source, vault.registry.journalKey(source), vault.journal(source).durable)
  const append = async ({ agent, source }: { agent: Id; source: Id }, text: string): Promise<Sequence> => {
    await using appender = await vault.appender(agent, source, forever)
    await appender.batch(batchOf(appender.durable + 1, [write('log', 0, Buffer.from(text))]))
    return appender.durable
  }
  return { vault, ...first, setup, lost, rests, start, add, append }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await systemClock.sleep(10)
}

test('a thread of indexes that ends is a problem told, is started again, and views go on', (context) =>
  inVault(context, async ({ vault, agent, source, setup, lost, rests, start, add, append }) => {
    const workers = startedThreads(context)
    await using indexes = start()
    using _growing = vault.onDurable((growth) => indexes.grown(growth.source, growth.durable))
    await add(indexes, source)
    const journalKey = (of: Id): Uint8Array => vault.registry.journalKey(of)
    await using threads = new ThreadedViews({ setup, journalKey, progress: indexes, threads: 1 })
    const views = waitingViews(threads, indexes, new HeldClock())
    const before = await append({ agent, source }, 'one')
    const [indexWorker, viewsWorker] = workers
    assert.equal((await views.stat(source, before, log)).bytes, 3)

    const waiting = indexes.reached(source, sequence(9))
    await Promise.all([assert.rejects(waiting, interrupted), indexWorker!.terminate()])
    assert.ok(interrupted(indexes.failure(source)))
    assert.match(lost[0]!.message, /indexes has ended/)
    const after = await append({ agent, source }, 'longer')
    const other = await addAgentWithSource(vault, 'mail')
    await add(indexes, other.source)
    assert.equal((await views.stat(source, before, log)).bytes, 3)
    await assert.rejects(views.stat(source, after, log), interrupted)

    await rests.letGo()
    await until(() => indexes.failure(source) === undefined)
    assert.equal((await views.stat(source, after, log)).bytes, 6)
    const added = await append(other, 'other')
    assert.equal((await views.stat(other.source, added, log)).bytes, 5)

    await Promise.all([once(viewsWorker!, 'exit'), viewsWorker!.terminate()])
    assert.equal((await views.stat(source, after, log)).bytes, 6)
    await threads.forget(other.source)
    await indexes.remove(other.source)
    assert.equal(lost.length, 1)
    assert.equal(workers.length, 4)
  }))

test('a thread of indexes that fails whenever it is started is tried again until it does not', (context) =>
  inVault(context, async ({ vault, agent, source, setup, lost, rests, start, add, append }) => {
    await writeFile(setup.indexFolder, 'in the way')
    const at = await append({ agent, source }, 'one')
    await using indexes = start()
    await add(indexes, source)
    await rests.letGo()
    await until(() => lost.length === 2)
    assert.match(indexes.failure(source)!.message, /indexes has ended: EEXIST/)
    await assert.rejects(indexes.reached(source, at), interrupted)
    await rm(setup.indexFolder)
    await rests.letGo()
    await until(() => indexes.failure(source) === undefined)
    await indexes.reached(source, vault.journal(source).durable)
    assert.equal(indexes.indexed(source), at)
  }))

test('what needs a damaged checkpoint is refused with the name of its file', (context) =>
  inVault(context, async ({ vault, agent, source, setup, start, add, append }) => {
    const journal = vault.journal(source)
    const at = await append({ agent, source }, 'one')
    await append({ agent, source }, 'two')
    await journal.writeCheckpoint(at, moment(began), [write('log', 0, Buffer.from('one'))])
    await journal.dropBefore(at)
    const name = checkpointName(source, at)
    const file = join(setup.directory, name)
    const bytes = await readFile(file)
    bytes[140]! ^= 1
    await writeFile(file, bytes)

    await using indexes = start()
    await add(indexes, source)
    const journalKey = (of: Id): Uint8Array => vault.registry.journalKey(of)
    await using threads = new ThreadedViews({ setup, journalKey, progress: indexes, threads: 1 })
    const views = waitingViews(threads, indexes, new HeldClock())
    const named = (error: unknown): boolean => isCode(error, 'damaged') && error.message.includes(name)
    await assert.rejects(views.stat(source, journal.durable, log), named)
    await assert.rejects(views.resolve(source, 'latest', systemClock.now() as Moment), named)
    assert.ok(named(indexes.failure(source)))
  }))
