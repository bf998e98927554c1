import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { test } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import { systemClock } from '../base/clock.ts'
import type { CapturedBatch } from '../capture/capture.ts'
import { moment } from '../model/moment.ts'
import { type Sequence, sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { MemoryDisk } from '../store/memory.ts'
import type { Store } from '../store/store.ts'
import { batchForTest } from '../wire/journal-in-memory.ts'
import { Backlog, type BacklogParts } from './backlog.ts'
import { Holes } from './holes.ts'

const signal = AbortSignal.timeout(600_000)

const partsOf = async (store: Store, memoryBytesMax?: number): Promise<BacklogParts> => ({
  store,
  random: new Seeded(1),
  clock: systemClock,
  holes: await Holes.open(store, systemClock),
  key: createSecretKey(Buffer.alloc(32, 9)),
  source: '5'.repeat(32) as Id,
  bytesMax: 1e12,
  freeMin: 0,
  memoryBytesMax,
})

function batchAt(at: number, blockBytes = 1000): CapturedBatch {
  const shipped = batchForTest(sequence(at), 1, [Buffer.alloc(blockBytes, at)], false, 'run')
  return { kind: 'batch', ...shipped, moment: moment(at * 1000), marks: [] }
}

async function ship(backlog: Backlog, from: number, to: number): Promise<void> {
  for (let at = from; at <= to; at++) assert.equal((await backlog.next(sequence(at), signal)).first, at)
}

const cursorAt = (at: number): Buffer => Buffer.from(`run:${at}`)

async function opened(store: Store, memoryBytesMax?: number, at: Sequence = sequence(0)): Promise<Backlog> {
  const backlog = await Backlog.open(await partsOf(store, memoryBytesMax))
  assert.ok(await backlog.continues(at, Buffer.alloc(0)))
  return backlog
}

test('an acknowledgement that overtakes a move to disk leaves no gap in the spool', async () => {
  const disk = new MemoryDisk({ random: new Seeded(1) })
  const backlog = await opened(disk.store(), 3500)
  for (const at of [1, 2]) await backlog.add(batchAt(at), signal)
  backlog.line(true)
  for (const at of [3, 4, 5]) await backlog.add(batchAt(at), signal)
  await ship(backlog, 1, 5)
  const added = backlog.add(batchAt(6, 3000), signal)
  backlog.acknowledged(sequence(4))
  await added
  await ship(backlog, 5, 6)
  disk.kill()
  await using again = await Backlog.open(await partsOf(disk.store()))
  assert.equal(again.damage, undefined)
  assert.equal(again.end, 6)
  assert.ok(await again.continues(sequence(4), cursorAt(4)))
  await ship(again, 5, 6)
})

test('a spool whose last file cannot be read is given up from there on, and the rest is kept', async () => {
  const disk = new MemoryDisk({ random: new Seeded(2) })
  for (const first of [1, 11]) {
    const backlog = first === 1 ? await opened(disk.store()) : await Backlog.open(await partsOf(disk.store()))
    for (let at = first; at < first + 10; at++) await backlog.add(batchAt(at), signal)
    await backlog[Symbol.asyncDispose]()
  }
  await (await Backlog.open(await partsOf(disk.store())))[Symbol.asyncDispose]()
  const name = disk.names.findLast((one) => one.endsWith('.spool'))!
  const bytes = disk.contents(name)
  bytes[5000]! ^= 1
  disk.overwrite(name, bytes)
  await using backlog = await Backlog.open(await partsOf(disk.store()))
  assert.ok(backlog.damage?.includes(name))
  assert.equal(backlog.end, 10)
  await ship(backlog, 1, 10)
  await backlog.add(batchAt(11), signal)
  await ship(backlog, 11, 11)
})

test('what is told to be noted is what a kill leaves known, and files go only after it is', async () => {
  const disk = new MemoryDisk({ random: new Seeded(3) })
  const backlog = await opened(disk.store())
  for (const at of [1, 2, 3]) await backlog.add(batchAt(at), signal)
  backlog.line(true)
  await ship(backlog, 1, 3)
  backlog.acknowledged(sequence(2))
  assert.equal(backlog.notedUpTo, 0)
  await backlog.save()
  assert.equal(backlog.notedUpTo, 2)
  backlog.acknowledged(sequence(3))
  while (disk.names.some((name) => name.endsWith('.spool'))) await systemClock.sleep(1)
  assert.equal(backlog.notedUpTo, 3)
  disk.kill()
  await using again = await Backlog.open(await partsOf(disk.store()))
  assert.equal(again.end, 3)
  assert.deepEqual(await again.endCursor(), cursorAt(3))
})

test('a spool that was acknowledged to its end is not where an older process goes on', async () => {
  const disk = new MemoryDisk({ random: new Seeded(4) })
  const backlog = await opened(disk.store())
  for (const at of [1, 2]) await backlog.add(batchAt(at), signal)
  backlog.line(true)
  for (const at of [3, 4]) await backlog.add(batchAt(at), signal)
  await ship(backlog, 1, 4)
  const spooled = disk.names.find((name) => name.endsWith('.spool'))!
  const bytes = disk.contents(spooled)
  backlog.acknowledged(sequence(4))
  await backlog.save()
  while (disk.names.includes(spooled)) await systemClock.sleep(1)
  disk.kill()
  disk.overwrite(spooled, bytes)
  await using again = await Backlog.open(await partsOf(disk.store()))
  assert.equal(again.end, 4)
})

test('what is kept in memory is on disk before a capture goes on from it', async () => {
  const disk = new MemoryDisk({ random: new Seeded(5) })
  const backlog = await opened(disk.store())
  backlog.line(true)
  for (const at of [1, 2, 3]) await backlog.add(batchAt(at), signal)
  await ship(backlog, 1, 3)
  backlog.acknowledged(sequence(1))
  await backlog.keepAll()
  assert.equal(backlog.memoryBytes, 0)
  disk.kill()
  await using again = await Backlog.open(await partsOf(disk.store()))
  assert.equal(again.end, 3)
})
