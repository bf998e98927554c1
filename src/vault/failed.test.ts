import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test, type TestContext } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import { appendFile, memoryVault, scratchCatalogue } from '../../test/support/memory-vault.ts'
import { batchOf, openTestVault, write } from '../../test/support/vault-world.ts'
import { systemClock } from '../base/clock.ts'
import { MemoryDisk } from '../store/memory.ts'
import type { GrowingFile, Store } from '../store/store.ts'

const forever = new AbortController().signal
const broken = new Error('EIO: i/o error, write')

/** A store on which files of some names cannot be made any more once `isBroken`. */
class BreakingDisk {
  isBroken = false
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  over(store: Store): Store {
    const create = async (name: string): Promise<GrowingFile> => {
      if (this.isBroken && name.startsWith(this.#folder)) throw broken
      return store.create(name)
    }
    return {
      create,
      extend: (name) => store.extend(name),
      read: (name, at, bytes) => store.read(name, at, bytes),
      size: (name) => store.size(name),
      list: (folder) => store.list(folder),
      truncate: (name, bytes) => store.truncate(name, bytes),
      replace: (name, bytes) => store.replace(name, bytes),
      remove: (name) => store.remove(name),
      free: () => store.free(),
      capacity: () => store.capacity(),
    }
  }
}

async function world(context: TestContext, folder: string) {
  const random = new Seeded(1)
  const breaking = new BreakingDisk(folder)
  const cataloguePath = await scratchCatalogue(context)
  const told = { random, limits: { packBytes: 1000, segmentBytes: 200 }, cataloguePath }
  const made = await memoryVault(new MemoryDisk({ random }), told, (disk) => breaking.over(disk.store()))
  const { parts, vault, agent, source } = made
  const appender = await vault.appender(agent, source, forever)
  const append = (at: number): Promise<void> => appendFile({ vault, appender }, at, 'f', [random.bytes(1500)])
  return { vault, breaking, parts, agent, source, appender, append, cataloguePath }
}

for (const folder of ['packs', 'journals']) {
  test(`a vault that cannot write ${folder} any more says so, ends, and goes on once it is opened anew`, async (context) => {
    const { vault, breaking, parts, agent, source, append } = await world(context, folder)
    await append(1)
    breaking.isBroken = true
    await Promise.all([assert.rejects(vault.failed, broken), assert.rejects(append(2), broken)])
    await vault[Symbol.asyncDispose]()

    breaking.isBroken = false
    await using again = await openTestVault(parts())
    assert.deepEqual(again.damage, [])
    await using appender = await again.appender(agent, source, forever)
    assert.equal(appender.durable, 1)
    await appender.batch(batchOf(2, [write('log', 0, Buffer.from('x'))]))
  })
}

test('a failure to note how long files are ends nothing', async (context) => {
  const { vault, cataloguePath, append, appender } = await world(context, 'none')
  let failure: unknown
  vault.failed.catch((error: unknown) => (failure = error))
  await append(1)
  await systemClock.sleep(1200)
  {
    using other = new DatabaseSync(cataloguePath)
    other.exec("CREATE TRIGGER refused BEFORE INSERT ON synced BEGIN SELECT RAISE(ABORT, 'no notes'); END")
  }
  await appender.batch(batchOf(2, [write('log', 0, Buffer.from('x'))]))
  await systemClock.sleep(1200)
  {
    using other = new DatabaseSync(cataloguePath)
    other.exec('DROP TRIGGER refused')
  }
  assert.equal(failure, undefined)
  await append(3)
  await vault[Symbol.asyncDispose]()
})
