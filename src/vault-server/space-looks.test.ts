import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { addAgentWithSource, batchOf, blockOf, newTestVault, putFile } from '../../test/support/vault-world.ts'
import { spaceAnswer } from '../api/measures.ts'
import { systemClock } from '../base/clock.ts'
import { systemRandom } from '../base/random.ts'
import { isoMoment, type Moment } from '../model/moment.ts'
import { sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { directoryStore } from '../store/directory.ts'
import { openDerived } from './derived.ts'
import { MeasureFile } from './measures/measure-file.ts'
import { Measures } from './measures/measures.ts'
import { cataloguePath, derivedFolder, measuresPath } from './place.ts'
import { SpaceLooks } from './space-looks.ts'
import { Space } from './space.ts'

const dayUs = 86_400_000_000

test('a vault tells what each source takes, what all would take as it came, and when it will be full', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-space-'))
  context.after(() => rmSync(directory, { recursive: true }))
  mkdirSync(derivedFolder(directory))
  const store = await directoryStore(directory)
  const parts = { store, clock: systemClock, random: systemRandom, cataloguePath: cataloguePath(directory) }
  await using vault = await newTestVault(parts)
  const { agent, source } = await addAgentWithSource(vault, 'ledger')
  const tell = (line: string): void => assert.fail(line)
  await using derived = await openDerived(vault, directory, { clock: systemClock, tell })
  const { chunks, bytes } = blockOf(vault, Buffer.alloc(100_000, 'the same again and again '))
  await using appender = await vault.appender(agent, source, new AbortController().signal)
  await appender.block(bytes)
  await appender.batch(batchOf(1, [putFile('a', chunks), putFile('b', chunks)]))
  await derived.reached(source, sequence(2), AbortSignal.timeout(30_000))

  using measures = new Measures(measuresPath(directory), tell)
  const now = systemClock.now() as Moment
  for (const ago of [3, 2, 1]) {
    const at = (now - ago * dayUs) as Moment
    const look = { at, storedBytes: 0, indexBytes: 0, freeBytes: 1e12 }
    measures.ask((file) => file.putSpace(Math.floor(at / dayUs), look, new Map([[source, ago === 3 ? 0 : 50_000]])))
  }
  const space = new Space(store, systemClock)
  const told = await new SpaceLooks({ vault, derived, space, measures }, systemClock, tell).answer()
  assert.deepEqual(spaceAnswer.parse(told), told)
  const [oldest, ...later] = told.days.map(({ receivedBytes }) => receivedBytes)
  assert.deepEqual([oldest, later], [0, [50_000, 0, 150_000]])
  assert.equal(told.days[0]?.at, isoMoment((now - 3 * dayUs) as Moment))
  assert.ok(told.growthBytesPerDay !== null && told.growthBytesPerDay > 0)
  assert.equal(told.logicalBytes, 200_000)
  assert.ok(told.storedBytes > 0 && told.storedBytes < 20_000 && told.indexBytes > 0)
  assert.ok(told.freeBytes > 0 && told.totalBytes > told.freeBytes)
  const [{ journalBytes = 0, ...ledger } = {}] = told.sources
  assert.deepEqual(ledger, { id: source, name: 'ledger-files', treeBytes: 200_000, historyBytes: 200_000 })
  assert.ok(journalBytes > 0 && journalBytes < told.storedBytes)
})

test('what was there before the first look was not received on its day', () => {
  using file = new MeasureFile(':memory:')
  const look = { at: dayUs as Moment, storedBytes: 1, indexBytes: 1, freeBytes: 1 }
  const [one, other] = ['1'.repeat(32) as Id, '2'.repeat(32) as Id]
  file.putSpace(1, look, new Map([[one, 500]]))
  file.putSpace(1, look, new Map([[one, 700]]))
  file.putSpace(
    2,
    look,
    new Map([
      [one, 600],
      [other, 30],
    ]),
  )
  assert.deepEqual(
    file.spaceDays(10).map(({ receivedBytes }) => receivedBytes),
    [200, 30],
  )
})
