import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Seeded } from '../../../../test/sim/random.ts'
import { SimulatedVolumeDisk, HastyClock } from '../../../../test/support/volume-disk-files.ts'
import { turn } from '../../../../test/support/volume-world.ts'
import { systemClock } from '../../../base/clock.ts'
import { isCode } from '../../../base/errors.ts'
import { systemRandom } from '../../../base/random.ts'
import type { RecordNumber, VolumeRecord } from '../../../format/volume-log.ts'
import { type VolumeLogFolder, VolumeLogReader } from '../../../format/volume-log-reader.ts'
import type { Id, VolumeSettings } from '../../../model/source.ts'
import { VolumeDisk } from './disk.ts'
import { volumeLogFolder } from './log-folder.ts'
import { nodeVolumeFiles } from './node-files.ts'
import type { VolumeDiskParts } from './open.ts'
import { readPlace } from './place.ts'

const volume = 'ffeeddccbbaa99887766554433221100' as Id
const mebi = 1024 ** 2
const limits = { segmentBytes: 4 * mebi, applyMs: 5, checkpointMs: 5 }
const none = { durable: () => {}, epoch: () => {}, ended: () => {} }

/** One request, answered. */
function ask(disk: VolumeDisk, request: Record<string, unknown>): Promise<void> {
  return new Promise((resolve, reject) => {
    const answer = { done: resolve, failed: (error: string) => reject(new Error(error)) }
    disk.take([{ isForced: false, mayMakeHole: true, ...request, answer } as never])
  })
}

const write = (disk: VolumeDisk, at: number, data: Buffer, isForced = false): Promise<void> =>
  ask(disk, { kind: 'write', at, bytes: data.length, data, isForced })
const flush = (disk: VolumeDisk): Promise<void> => ask(disk, { kind: 'flush' })

async function read(disk: VolumeDisk, at: number, bytes: number): Promise<Buffer> {
  const into = Buffer.alloc(bytes)
  await ask(disk, { kind: 'read', at, bytes, into })
  return into
}

async function records(folder: VolumeLogFolder, from: number, upTo: number): Promise<VolumeRecord[]> {
  await using reader = new VolumeLogReader(folder, { volume, from: from as RecordNumber })
  const all: VolumeRecord[] = []
  for await (const group of reader.read(upTo as RecordNumber)) all.push(...group)
  return all
}

function scratch(t: TestContext): { backing: string; logFolder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-volume-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return { backing: join(folder, 'backing'), logFolder: join(folder, 'log') }
}

test('on files of this machine a volume holds what was written, over a restart, and its log tells the same', async (t) => {
  const paths = scratch(t)
  const settings: VolumeSettings = { backing: paths.backing, logBytesMax: 64 * mebi }
  const parts = { clock: systemClock, random: systemRandom, volume, name: 'v', settings, limits, told: none }
  const random = new Seeded(5)
  const bytes = 8 * mebi
  const model = Buffer.alloc(bytes)
  let shipped = 0
  for (let life = 0; life < 3; life++) {
    await using files = await nodeVolumeFiles({ ...paths, bytes })
    await using disk = await VolumeDisk.open({ ...parts, files })
    assert.equal(disk.bytes, bytes)
    assert.ok((await read(disk, 0, bytes)).equals(model))
    for (let count = 0; count < 60; count++) {
      const length = random.integer(1, 200) * 512
      const at = random.integer(0, (bytes - length) / 512) * 512
      const chance = random.fraction()
      if (chance < 0.6) {
        const data = Buffer.alloc(length, random.bytes(64))
        data.copy(model, at)
        await write(disk, at, data, chance < 0.1)
      } else if (chance < 0.9) {
        const large = chance > 0.85 ? Math.min(2 * mebi, bytes - at) : length
        model.fill(0, at, at + large)
        await ask(disk, { kind: chance < 0.75 ? 'trim' : 'zero', at, bytes: large })
      } else await flush(disk)
      const from = random.integer(0, bytes - 100_000)
      assert.ok((await read(disk, from, 100_000)).equals(model.subarray(from, from + 100_000)))
    }
    await flush(disk)
    assert.equal(disk.durable, disk.last)
    const copy = Buffer.alloc(bytes)
    const all = await records(volumeLogFolder(paths.logFolder), 1, disk.durable)
    assert.deepEqual(all[0], { ...all[0], number: 1, kind: 'resize', bytes })
    for (const record of all) {
      if (record.kind === 'write') copy.set(record.data, record.at)
      else if (record.kind === 'zero' || record.kind === 'trim') copy.fill(0, record.at, record.at + record.bytes)
    }
    assert.ok(copy.equals(model))
    assert.ok(all.length > shipped)
    shipped = all.length
    const extents = await disk.extents(0, bytes)
    assert.equal(
      extents.reduce((at, extent) => (assert.equal(extent.at, at), at + extent.bytes), 0),
      bytes,
    )
    for (const { at, bytes: length, is } of extents)
      if (is !== 'data') assert.ok(model.subarray(at, at + length).every((byte) => byte === 0))
  }
  assert.ok(readFileSync(paths.backing).equals(model), 'a server that ends leaves everything in the backing')
})

test('a volume that grows tells so in its log, and one whose backing has shrunk is not served', async (t) => {
  const paths = scratch(t)
  const settings = { backing: paths.backing, logBytesMax: 64 * mebi }
  const parts = { clock: systemClock, random: systemRandom, volume, name: 'v', settings, limits, told: none }
  for (const bytes of [mebi, 3 * mebi]) {
    await using files = await nodeVolumeFiles({ ...paths, bytes })
    await using disk = await VolumeDisk.open({ ...parts, files })
    const [last] = await records(volumeLogFolder(paths.logFolder), disk.last, disk.last)
    assert.deepEqual(last, { ...last, kind: 'resize', bytes })
    await write(disk, bytes - 512, Buffer.alloc(512, 1))
  }
  const gone = nodeVolumeFiles({ ...paths, backing: `${paths.backing}2`, bytes: 3 * mebi })
  await assert.rejects(gone, (error) => isCode(error, 'not-found'))
  assert.ok(!existsSync(`${paths.backing}2`), 'none is made in its place')
  truncateSync(paths.backing, mebi)
  const shrunk = nodeVolumeFiles({ ...paths, bytes: 3 * mebi })
  await assert.rejects(shrunk, (error) => isCode(error, 'damaged'))
})

test('a backing that is cut short while it is served is damaged: nothing of it passes for zeros, and no write makes it grow', async (t) => {
  const paths = scratch(t)
  await using files = await nodeVolumeFiles({ ...paths, bytes: 3 * mebi })
  const isDamaged = (error: unknown): boolean => isCode(error, 'damaged')
  const { backing } = files
  truncateSync(paths.backing, mebi)
  assert.throws(() => files.look(), isDamaged)
  assert.throws(() => backing.dataRanges(0, 3 * mebi), isDamaged)
  await assert.rejects(backing.read(Buffer.alloc(512), 2 * mebi), isDamaged)
  assert.equal(backing.readNow(Buffer.alloc(512), 2 * mebi), false)
  await assert.rejects(backing.apply([{ kind: 'zero', at: 3 * mebi - 512, bytes: 512 }]), isDamaged)
  await assert.rejects(backing.sync(), isDamaged)
  assert.equal(statSync(paths.backing).size, mebi)
})

/** A volume on simulated disks, where nothing happens that a test does not ask for. */
function simulated(seed: number, more: Partial<VolumeDiskParts> = {}, logCapacity = 64 * mebi) {
  const random = new Seeded(seed)
  const disks = new SimulatedVolumeDisk({ random: random.fork('disk'), backingBytes: mebi, logCapacity })
  const settings = { backing: '/simulated', logBytesMax: 8 * 256 * 1024 }
  const open = (files = disks.files()) =>
    VolumeDisk.open({
      files,
      clock: new HastyClock(random.fork('clock')),
      random,
      volume,
      name: 'v',
      settings,
      limits: { segmentBytes: 256 * 1024, pendingMax: 200, applyMs: 1, checkpointMs: 1 },
      told: none,
      ...more,
    })
  return { disks, open, settings }
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let turns = 0; !holds(); turns++) {
    if (turns > 50_000) assert.fail(`it never comes to be: ${what}`)
    await turn()
  }
}

test('a sync that fails is the end: all is answered by errors, and nothing is tried again', async () => {
  const ended: unknown[] = []
  const { disks, open } = simulated(1, { told: { ...none, ended: (error) => ended.push(error) } })
  const disk = await open()
  await write(disk, 0, Buffer.alloc(4096, 1))
  await flush(disk)
  disks.syncFails = true
  await write(disk, 4096, Buffer.alloc(4096, 2))
  await assert.rejects(flush(disk), /EIO/)
  assert.equal(ended.length, 1)
  disks.syncFails = false
  await assert.rejects(flush(disk), /EIO/)
  await assert.rejects(write(disk, 0, Buffer.alloc(512)), /EIO/)
  await assert.rejects(disk.mark(1, 'label'))
  assert.ok(disk.problems.some(({ code }) => code === 'volume-failed'))
  await disk[Symbol.asyncDispose]()
})

test('the bytes of the log that the vault has not acknowledged are known, also to the next server', async () => {
  const { disks, open } = simulated(12)
  const disk = await open()
  await flush(disk)
  disk.acknowledged(disk.epoch, disk.durable)
  assert.equal(disk.unsentBytes, 0)
  const { last } = disk
  for (let count = 1; count <= 3; count++) {
    await write(disk, count * 4096, Buffer.alloc(4096, count))
    await flush(disk)
  }
  const [written, flushed] = [56 + 4096, 56]
  assert.equal(disk.unsentBytes, 3 * (written + flushed))
  disk.acknowledged(disk.epoch, last + 2)
  assert.equal(disk.unsentBytes, 2 * (written + flushed))
  disks.end('kill')
  const again = await open()
  assert.ok(again.unsentBytes >= 2 * (written + flushed) && again.unsentBytes <= 4 * (written + flushed) + 56)
  again.acknowledged(again.epoch, again.durable)
  assert.equal(again.unsentBytes, 0)
  await again[Symbol.asyncDispose]()
})

test('marks stand in the log where they were asked for', async () => {
  const { disks, open } = simulated(2)
  const disk = await open()
  await write(disk, 0, Buffer.alloc(512, 1))
  const number = await disk.mark(42, 'before the upgrade')
  await write(disk, 0, Buffer.alloc(512, 2))
  await flush(disk)
  const found = await records(disks.logForReaders(), number, disk.durable)
  assert.deepEqual(
    found.map(({ kind }) => kind),
    ['mark', 'write', 'flush'],
  )
  assert.deepEqual(found[0], { ...found[0], tag: 42, label: 'before the upgrade' })
  assert.throws(() => disk.mark(1, 'x'.repeat(2000)), RangeError)
  await disk[Symbol.asyncDispose]()
})

test('at zero loss a flush waits for the vault, for ever where nothing else was asked for', async () => {
  const { open, settings } = simulated(3)
  const disk = await open()
  disk.settings({ ...settings, zeroLoss: {} })
  let isAnswered = false
  await write(disk, 0, Buffer.alloc(512, 1))
  const flushed = flush(disk).then(() => (isAnswered = true))
  await until(() => disk.durable === disk.last, 'the log is synced')
  for (let turns = 0; turns < 200; turns++) await turn()
  assert.equal(isAnswered, false)
  assert.ok(disk.problems.some(({ code }) => code === 'zero-loss-blocked'))
  disk.acknowledged(disk.epoch, disk.last - 1)
  disk.acknowledged(disk.epoch - 1, disk.last)
  assert.equal(isAnswered, false)
  disk.line(true)
  disk.acknowledged(disk.epoch, disk.last)
  await flushed
  assert.deepEqual(disk.problems, [])
  await disk[Symbol.asyncDispose]()
})

test('at zero loss flushes go on without a silent vault after a while, and the span is in the log when it ends', async () => {
  const { disks, open, settings } = simulated(4)
  const disk = await open()
  disk.settings({ ...settings, zeroLoss: { degradeMs: 5000 } })
  await write(disk, 0, Buffer.alloc(512, 1))
  await flush(disk)
  assert.ok(disk.problems.some(({ code }) => code === 'zero-loss-degraded'))
  disk.line(true)
  const before = disk.last
  disk.acknowledged(disk.epoch, before)
  await until(() => disk.durable > before, 'the span is in the log')
  const [mark] = await records(disks.logForReaders(), before + 1, before + 1)
  assert.ok(mark?.kind === 'mark' && /did not wait for the vault from 20\S+Z to 20\S+Z/.test(mark.label))
  assert.deepEqual(disk.problems, [])
  await disk[Symbol.asyncDispose]()
})

test('a log that needs the vault is not given up while flushes wait for it: writers wait', async () => {
  const { open, settings } = simulated(5)
  const disk = await open()
  disk.settings({ ...settings, zeroLoss: {} })
  let written = 0
  const writes = Array.from({ length: 40 }, () => write(disk, 0, Buffer.alloc(128 * 1024, 1)).then(() => written++))
  await until(() => disk.problems.some(({ code }) => code === 'volume-log-full'), 'the log is full')
  assert.ok(written < writes.length)
  const { epoch } = disk
  for (; written < writes.length; await turn()) disk.acknowledged(epoch, disk.durable)
  assert.equal(disk.epoch, epoch)
  await disk[Symbol.asyncDispose]()
})

test('where the log has no room left history is given up, and the disk goes on', async () => {
  const { disks, open } = simulated(6, {}, 4.5 * 256 * 1024)
  const disk = await open()
  const { epoch } = disk
  for (let count = 0; count < 60; count++) await write(disk, (count % 8) * 65_536, Buffer.alloc(65_536, count))
  assert.ok(disk.epoch > epoch)
  assert.ok(disks.logBytes <= 4.5 * 256 * 1024)
  assert.deepEqual(disk.askTouched(0).regions, [0, 1, 2, 3, 4, 5, 6, 7])
  assert.deepEqual(disk.askTouched(6).regions, [6, 7])
  // From here on the vault has all there is, so that no more is given up.
  await flush(disk)
  await until(() => {
    disk.acknowledged(disk.epoch, disk.durable)
    return disk.logBytes <= 2 * 256 * 1024
  }, 'the log has room')
  const last = disk.last
  disk.healed([0, 3], disk.first - 2)
  assert.equal(disk.askTouched(0).regions.length, 8)
  disk.healed([0, 3], last)
  await until(() => disk.askTouched(0).regions.length < 8, 'what is healed is touched no more')
  assert.deepEqual(disk.askTouched(0).regions, [1, 2, 4, 5, 6, 7])
  await disk[Symbol.asyncDispose]()
  const again = await open()
  assert.deepEqual(again.askTouched(0).regions, [1, 2, 4, 5, 6, 7])
  await again[Symbol.asyncDispose]()
})

test('damage of records that the backing needs is told, and nothing is served', async () => {
  const { disks, open } = simulated(7, { limits: { segmentBytes: 256 * 1024, applyMs: 1e9, checkpointMs: 1e9 } })
  const disk = await open()
  for (let count = 0; count < 8; count++) {
    await write(disk, count * 4096, Buffer.alloc(4096, count + 1))
    await flush(disk)
  }
  disks.end('kill')
  const [name] = disks.names()
  disks.flip(name!, 9000, 3)
  await assert.rejects(open(), (error) => isCode(error, 'damaged') && /cannot bring the backing/.test(error.message))
  disks.flip(name!, 9000, 3)
  const again = await open()
  assert.ok((await read(again, 28_672, 4096)).equals(Buffer.alloc(4096, 8)))
  await again[Symbol.asyncDispose]()
})

test('damage of the last records that were synced is told as damage, once nothing has been written for a moment', async () => {
  const { disks, open } = simulated(10)
  const { log, backing } = disks.files()
  // Nothing comes into the backing, and so no checkpoint says anything.
  const disk = await open({ log, backing: { ...backing, apply: () => new Promise(() => {}) } })
  await write(disk, 0, Buffer.alloc(4096, 1))
  await flush(disk)
  await write(disk, 4096, Buffer.alloc(4096, 2))
  await flush(disk)
  let place = await readPlace(disks.logForReaders())
  await until(() => {
    void readPlace(disks.logForReaders()).then((found) => (place = found))
    return place?.synced === disk.last
  }, 'the place says how far the log is synced')
  disks.end('kill')
  const [resize, first, flushed] = [56, 56 + 4096, 56]
  disks.flip(disks.names()[0]!, 2 * 64 + resize + first + flushed + 1000, 3)
  await assert.rejects(open(), (error) => isCode(error, 'damaged') && /record 4 does not verify/.test(error.message))
})

test('damage of history that the backing has already is a hole: the volume is served, and all of it is touched', async () => {
  const { disks, open } = simulated(8)
  const disk = await open()
  const { epoch } = disk
  for (let count = 0; count < 8; count++) await write(disk, count * 4096, Buffer.alloc(4096, count + 1))
  await disk[Symbol.asyncDispose]()
  const [name] = disks.names()
  disks.flip(name!, 9000, 3)
  const again = await open()
  assert.ok((await read(again, 28_672, 4096)).equals(Buffer.alloc(4096, 8)))
  assert.ok(again.epoch > epoch)
  assert.equal(again.askTouched(0).regions.length, 16)
  assert.ok(again.problems.some(({ code }) => code === 'volume-log-damaged'))
  await again[Symbol.asyncDispose]()
})

test('no epoch is begun twice, also where the newest word of where the volume stood is damaged', async () => {
  const { disks, open } = simulated(11)
  const disk = await open()
  const { epoch } = disk
  await write(disk, 0, Buffer.alloc(4096, 1))
  disk.lostHistory('the vault found damage')
  await until(() => disk.epoch > epoch, 'a new epoch')
  const told = disk.epoch
  disks.end('kill')
  const place = disks.content('place') as Buffer
  const newest = place.readBigUInt64BE(24) > place.readBigUInt64BE(512 + 24) ? 0 : 512
  disks.flip('place', newest + 40, 3)
  const again = await open()
  assert.ok(again.epoch > told)
  assert.equal(again.askTouched(0).regions.length, 16)
  await again[Symbol.asyncDispose]()
})

test('damage in a segment that nothing else looks into is found by the server itself', async () => {
  const { disks, open } = simulated(9)
  const disk = await open()
  const { epoch } = disk
  for (let count = 0; count < 12; count++) await write(disk, 0, Buffer.alloc(65_536, count + 1))
  await disk[Symbol.asyncDispose]()
  disks.flip(disks.names()[0]!, 9000, 3)
  const again = await open()
  await until(() => again.epoch > epoch, 'a new epoch')
  assert.equal(again.askTouched(0).regions.length, 16)
  const later = again.epoch
  again.lostHistory('the vault found damage')
  await until(() => again.epoch > later, 'another epoch')
  await again[Symbol.asyncDispose]()
})
