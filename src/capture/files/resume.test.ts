import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { appendFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CaptureDriver } from '../../../test/capture-driver.ts'
import { openDriver, told } from '../../../test/capture-scratch.ts'
import { systemClock } from '../../base/clock.ts'
import type { Change } from '../../model/change.ts'
import { Catalog } from './catalog.ts'
import { decodeCursor } from './cursor.ts'

async function settledTree(context: TestContext): Promise<CaptureDriver> {
  const driver = openDriver(context)
  mkdirSync(join(driver.top, 'directory', 'below'), { recursive: true })
  for (const name of ['one', 'directory/two', 'directory/below/three']) {
    writeFileSync(join(driver.top, name), randomBytes(30_000))
  }
  writeFileSync(join(driver.top, 'large'), randomBytes(20_000_000))
  await driver.settleAndCompare()
  return driver
}

/** All that happens when nothing has. */
const nothing = ['mark suspect start', 'mark complete start']
const gap = 'mark hole the agent was not watching'

function holesIn(changes: readonly Change[]): number[] {
  return changes.flatMap((change) => (change.kind === 'mark' && change.mark.type === 'hole' ? [change.mark.since] : []))
}

for (const [how, stop] of [
  ['in order', (driver: CaptureDriver) => driver.close()],
  ['by a kill', (driver: CaptureDriver) => driver.kill()],
] as const) {
  test(`after an end ${how}, only what changed meanwhile is told`, async (context) => {
    const driver = await settledTree(context)
    stop(driver)
    const unchanged = await driver.changesOf(() => undefined)
    assert.deepEqual(told(driver, unchanged), nothing)
    stop(driver)
    const sent = driver.sentBytes
    const changes = await driver.changesOf(() => {
      renameSync(join(driver.top, 'directory'), join(driver.top, 'renamed'))
      writeFileSync(join(driver.top, 'renamed', 'two'), 'changed')
      rmSync(join(driver.top, 'one'))
      appendFileSync(join(driver.top, 'large'), 'more')
    })
    driver.compare()
    assert.deepEqual(told(driver, changes).sort(), [
      'mark complete start',
      'mark hole the agent was not watching',
      'mark suspect start',
      'patch large',
      'put renamed/two',
      'remove one',
      'rename directory renamed',
    ])
    assert.equal(driver.sentBytes, sent)
    assert.equal(driver.manifestsWanted, 0)
  })
}

test('batches that were handed out and lost are made again', async (context) => {
  const driver = await settledTree(context)
  for (let index = 0; index < 5; index++) {
    writeFileSync(join(driver.top, `new${index}`), randomBytes(1000))
    renameSync(join(driver.top, 'directory'), join(driver.top, `directory${index}`))
    renameSync(join(driver.top, `directory${index}`), join(driver.top, 'directory'))
    appendFileSync(join(driver.top, 'large'), 'more')
    await driver.settle()
  }
  driver.killAndLose(3)
  await driver.settleAndCompare()
  assert.equal(driver.manifestsWanted, 0, 'the catalog went back by itself')
})

test('a lost catalog is made from the manifest, and nothing is sent again', async (context) => {
  const driver = await settledTree(context)
  driver.close()
  rmSync(driver.stateDirectory, { recursive: true })
  const sent = driver.sentBytes
  const changes = await driver.changesOf(() => writeFileSync(join(driver.top, 'one'), 'changed meanwhile'))
  driver.compare()
  assert.equal(driver.manifestsWanted, 1)
  assert.deepEqual(told(driver, changes), ['mark suspect start', 'put one', gap, 'mark complete start'])
  assert.equal(driver.sentBytes, sent)
  // From then on it is remembered again.
  driver.close()
  assert.deepEqual(told(driver, await driver.changesOf(() => undefined)), nothing)
  assert.equal(driver.manifestsWanted, 1)
})

test('a catalog behind the journal is brought up from the manifest without reading what it knew', async (context) => {
  const driver = await settledTree(context)
  driver.close()
  // As after a restored machine: the journal has gone on since.
  driver.tellApart()
  const changes = await driver.changesOf(() => undefined)
  assert.equal(driver.manifestsWanted, 1)
  assert.deepEqual(told(driver, changes), nothing)
  driver.compare()
})

test('a catalog of the same sequence and another history is not trusted', async (context) => {
  const driver = await settledTree(context)
  driver.close()
  driver.cursor = Buffer.from(JSON.stringify({ version: 1, moment: 5, session: 'another', baseline: 'complete' }))
  await driver.settleAndCompare()
  assert.equal(driver.manifestsWanted, 1)
})

test('a baseline that was interrupted goes on where it was', async (context) => {
  const driver = openDriver(context)
  for (let index = 0; index < 400; index++) writeFileSync(join(driver.top, String(index)), randomBytes(40_000))
  await driver.until(() => driver.sentBytes > 3_000_000)
  driver.kill()
  await driver.settleAndCompare()
  assert.equal(driver.sentBytes, 400 * 40_000)
  const marks = told(driver, driver.changes).filter((line) => line.startsWith('mark'))
  assert.deepEqual(marks, ['mark suspect baseline', 'mark suspect baseline', 'mark complete baseline'])
})

test('a hole is marked, and everything is compared', async (context) => {
  const driver = await settledTree(context)
  const changes = await driver.changesOf(() =>
    driver.engine.receive({ kind: 'hole', since: 5 as never, reason: 'the spool was full' }),
  )
  assert.deepEqual(told(driver, changes), [
    'mark hole the spool was full',
    'mark suspect spool-full',
    'mark complete spool-full',
  ])
})

test('asked for, everything is compared', async (context) => {
  const driver = await settledTree(context)
  const changes = await driver.changesOf(() => driver.engine.receive({ kind: 'reconcile' }))
  assert.deepEqual(told(driver, changes), ['mark suspect request', 'mark complete request'])
})

test('what was changed while nobody watched is told as a hole from when all was captured', async (context) => {
  const driver = await settledTree(context)
  await driver.changesOf(() => writeFileSync(join(driver.top, 'one'), 'the last that was watched'))
  const { moment: captured } = decodeCursor(driver.cursor)
  driver.kill()
  const left = systemClock.now()
  await sleep(50)
  const changes = await driver.changesOf(() => writeFileSync(join(driver.top, 'directory', 'two'), 'missed'))
  const [since, ...more] = holesIn(changes)
  assert.deepEqual(more, [])
  assert.ok(since !== undefined && since >= captured && since <= left, `${captured} ${since} ${left}`)
  // The next time there is nothing to tell.
  driver.kill()
  assert.deepEqual(told(driver, await driver.changesOf(() => undefined)), nothing)
})

test('a hole that was found and lost with a kill is told by the next start', async (context) => {
  const driver = await settledTree(context)
  driver.kill()
  const left = systemClock.now()
  await sleep(20)
  writeFileSync(join(driver.top, 'new'), 'missed')
  const shows = ({ first, last }: { first: number; last: number }): boolean =>
    told(driver, driver.changes.slice(first - 1, last)).includes('put new')
  await driver.until(() => driver.batches.some(shows))
  // Lost is everything after the batch that shows it.
  driver.killAndLose(driver.batches.length - 1 - driver.batches.findIndex(shows))
  await driver.changesOf(() => undefined)
  // Where its mark stood in a batch that is kept, it is not told twice.
  const holes = holesIn(driver.changes)
  assert.equal(holes.length, 1)
  assert.ok((holes[0] as number) <= left)
})

test('a start that was cut short leaves the gap where it began', async (context) => {
  const driver = await settledTree(context)
  driver.kill()
  const left = systemClock.now()
  await sleep(20)
  // Nothing is compared without a vault, and it is idle.
  driver.line(false)
  const until = performance.now() + 1200
  await driver.until(() => performance.now() > until)
  driver.kill()
  driver.line(true)
  const changes = await driver.changesOf(() => writeFileSync(join(driver.top, 'one'), 'missed'))
  const [since] = holesIn(changes)
  assert.ok(since !== undefined && since <= left, `${since} ${left}`)
})

test('a file that waits for the answer of the vault is not noted as captured', async (context) => {
  const driver = await settledTree(context)
  const path = join(driver.top, 'one')
  driver.isAnswering = false
  const left = systemClock.now()
  writeFileSync(path, randomBytes(300_000))
  const offers = driver.offers
  await driver.until(() => driver.offers > offers)
  const until = performance.now() + 1500
  await driver.until(() => performance.now() > until)
  driver.close()
  using catalog = Catalog.readable(join(driver.stateDirectory, 'catalog.sqlite'))
  assert.ok(catalog !== undefined && catalog.batches.drained <= left, `${catalog?.batches.drained} ${left}`)
})
