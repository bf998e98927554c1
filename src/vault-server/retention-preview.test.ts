import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { addAgentWithSource, batchOf, newTestVault, putFile } from '../../test/support/vault-world.ts'
import { systemClock } from '../base/clock.ts'
import { systemRandom } from '../base/random.ts'
import type { Change } from '../model/change.ts'
import { isoMoment, moment } from '../model/moment.ts'
import { sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { directoryStore } from '../store/directory.ts'
import { forgetOldHistory, ForgetTurns } from '../vault/retention/forget.ts'
import type { Vault } from '../vault/vault.ts'
import { type Derived, openDerived } from './derived.ts'
import { HeldPoints } from './held-points.ts'
import { cataloguePath, derivedFolder } from './place.ts'
import { previewRetention } from './retention-preview.ts'

const hourUs = 3_600_000_000
const hourMs = hourUs / 1000
const never = new AbortController().signal

interface World {
  readonly vault: Vault
  readonly derived: Derived
  readonly held: HeldPoints
  readonly source: Id
  readonly nowUs: number
}

/** A journal of a change an hour, ten hours long, each in a segment of its own. */
async function tenHours(context: TestContext): Promise<World> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-preview-'))
  mkdirSync(derivedFolder(directory))
  const store = await directoryStore(directory)
  const parts = { store, clock: systemClock, random: systemRandom, cataloguePath: cataloguePath(directory) }
  const vault = await newTestVault({ ...parts, limits: { segmentBytes: 200 } })
  const { agent, source } = await addAgentWithSource(vault, 'ledger')
  const derived = await openDerived(vault, directory, { clock: systemClock, tell: (line) => assert.fail(line) })
  context.after(async () => {
    await derived[Symbol.asyncDispose]()
    await vault[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true })
  })
  const nowUs = systemClock.now()
  const appender = await vault.appender(agent, source, never)
  for (let hour = 1; hour <= 10; hour++) {
    const mark: Change = { kind: 'mark', mark: { type: 'user', label: `hour ${hour}` } }
    const change = hour % 5 === 0 ? mark : putFile(`f${hour}`, [])
    await appender.batch(batchOf(hour, [change], nowUs - (10 - hour) * hourUs))
  }
  await appender[Symbol.asyncDispose]()
  await derived.reached(source, sequence(10), AbortSignal.timeout(30_000))
  return { vault, derived, held: new HeldPoints(systemClock), source, nowUs }
}

const preview = ({ vault, derived, held, source, nowUs }: World, windowMs: number) =>
  previewRetention({ vault, derived, held, clock: { ...systemClock, now: () => nowUs } }, source, windowMs)

test('a shorter window tells what it would delete: changes, bytes, marks, and from when on points are kept', async (context) => {
  const world = await tenHours(context)
  const { nowUs } = world
  const earliestNow = isoMoment(moment(nowUs - 9 * hourUs))
  const none = { earliestNow, earliestThen: earliestNow, changes: 0, journalBytes: 0, marks: [] }
  assert.deepEqual(await preview(world, 9 * hourMs), none)
  const { journalBytes, ...told } = await preview(world, 3.5 * hourMs)
  assert.deepEqual(told, {
    earliestNow,
    earliestThen: isoMoment(moment(nowUs - 4 * hourUs)),
    changes: 6,
    marks: [{ label: 'hour 5', moment: isoMoment(moment(nowUs - 5 * hourUs)) }],
  })
  const all = (await world.vault.journal(world.source).sealedSegments()).reduce((sum, { bytes }) => sum + bytes, 0)
  assert.ok(journalBytes > 0 && journalBytes < all)
})

test('what is foretold is what retention does, and then nothing is left to be foretold', async (context) => {
  const world = await tenHours(context)
  const { vault, derived, source, nowUs } = world
  const foretold = await preview(world, 3.5 * hourMs)
  const policy = { ...vault.registry.source(source).policy, windowMs: 3.5 * hourMs }
  await vault.registry.changeSource(source, { policy })
  const parts = { vault, indexes: derived.indexes, turns: new ForgetTurns(systemClock), held: () => undefined }
  const { sources } = await forgetOldHistory(parts, moment(nowUs), never)
  assert.deepEqual(sources, [{ source, keptFrom: foretold.changes }])
  const after = await preview(world, 3.5 * hourMs)
  assert.equal(after.earliestNow, foretold.earliestThen)
  assert.equal(after.changes, 0)
})

test('a point that somebody reads is kept, whatever the window', async (context) => {
  const world = await tenHours(context)
  world.held.hold(world.source, 'a restore', moment(world.nowUs - 7.5 * hourUs))
  assert.equal((await preview(world, hourMs)).changes, 2)
})
