import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Seeded } from '../../../../test/sim/random.ts'
import { HastyClock, SimulatedVolumeDisk } from '../../../../test/support/volume-disk-files.ts'
import { turn } from '../../../../test/support/volume-world.ts'
import type { RecordNumber } from '../../../format/volume-log.ts'
import { VolumeLogReader } from '../../../format/volume-log-reader.ts'
import { isoMoment, moment } from '../../../model/moment.ts'
import type { Id } from '../../../model/source.ts'
import { VolumeDisk } from './disk.ts'
import type { VolumeFiles } from './files.ts'
import { readPlace } from './place.ts'

const volume = 'ffeeddccbbaa99887766554433221100' as Id
const segmentBytes = 256 * 1024
const spanText = /did not wait for the vault from (\S+Z) to (\S+Z)/

function scene(seed: number) {
  const random = new Seeded(seed)
  const disks = new SimulatedVolumeDisk({
    random: random.fork('disk'),
    backingBytes: 1024 ** 2,
    logCapacity: 1024 ** 3,
  })
  const clock = new HastyClock(random.fork('clock'))
  const open = (wrap: (files: VolumeFiles) => VolumeFiles = (files) => files) =>
    VolumeDisk.open({
      files: wrap(disks.files()),
      clock,
      random,
      volume,
      name: 'v',
      settings: { backing: '/simulated', logBytesMax: 8 * segmentBytes, zeroLoss: { degradeMs: 5000 } },
      limits: { segmentBytes, applyMs: 1, checkpointMs: 1 },
      told: { durable: () => {}, epoch: () => {}, ended: () => {} },
    })
  const now = (): string => isoMoment(moment(clock.now()))
  /** The spans that the log tells of. */
  const spans = async (disk: VolumeDisk): Promise<{ since: string; until: string }[]> => {
    await using reader = new VolumeLogReader(disks.logForReaders(), { volume, from: disk.first })
    const found: { since: string; until: string }[] = []
    for await (const records of reader.read(disk.durable as RecordNumber)) {
      for (const record of records) {
        const [, since, until] = (record.kind === 'mark' && spanText.exec(record.label)) || []
        if (since !== undefined && until !== undefined) found.push({ since, until })
      }
    }
    return found
  }
  const since = async () => (await readPlace(disks.logForReaders()))?.unprotectedSince
  return { disks, open, now, spans, since }
}

function ask(disk: VolumeDisk, request: Record<string, unknown>): Promise<void> {
  return new Promise((resolve, reject) => {
    const answer = { done: resolve, failed: (error: string) => reject(new Error(error)) }
    disk.take([{ isForced: false, mayMakeHole: true, ...request, answer } as never])
  })
}

const write = (disk: VolumeDisk, at: number): Promise<void> =>
  ask(disk, { kind: 'write', at, bytes: 512, data: Buffer.alloc(512, 1) })
const flush = (disk: VolumeDisk): Promise<void> => ask(disk, { kind: 'flush' })

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let turns = 0; !(await holds()); turns++) {
    assert.ok(turns < 5000, `it never comes to be: ${what}`)
    await turn()
  }
}

for (const how of ['kill', 'power'] as const) {
  test(`a span without the vault is told by the next server, where this one ends by ${how} before it could`, async () => {
    const { disks, open, now, spans, since } = scene(how === 'kill' ? 1 : 2)
    const disk = await open()
    const begin = now()
    await write(disk, 0)
    await flush(disk)
    const answered = now()
    disks.end(how)
    const again = await open()
    again.line(true)
    await until(async () => (await spans(again)).length === 1, 'the span is in the log')
    const [span] = await spans(again)
    assert.ok(span !== undefined && begin < span.since && span.since < answered && answered < span.until)
    assert.notEqual(await since(), 0)
    again.acknowledged(again.epoch, again.durable)
    await until(async () => (await since()) === 0, 'the place forgets what the vault knows')
    const { last } = again
    await again[Symbol.asyncDispose]()
    const third = await open()
    assert.equal(third.last, last, 'it is told once')
    await third[Symbol.asyncDispose]()
  })
}

test('no flush is answered without the vault before that is noted', async () => {
  const { open, since } = scene(3)
  let isShut = false
  const disk = await open(({ log, backing }) => ({
    backing,
    log: {
      ...log,
      create: async (name, bytes) => {
        const file = await log.create(name, bytes)
        return { ...file, write: (parts, at) => (isShut && name === 'place' ? 0 : file.write(parts, at)) }
      },
    },
  }))
  isShut = true
  await write(disk, 0)
  let isAnswered = false
  const flushed = flush(disk).then(() => (isAnswered = true))
  for (let turns = 0; turns < 500; turns++) await turn()
  assert.equal(isAnswered, false)
  isShut = false
  await flushed
  assert.notEqual(await since(), 0)
  disk.line(true)
  disk.acknowledged(disk.epoch, disk.durable)
  await disk[Symbol.asyncDispose]()
})

test('a vault that speaks while the span is noted has none begin', async () => {
  const { open, since } = scene(5)
  let passes: (() => void) | undefined
  let isHeld = false
  const disk = await open(({ log, backing }) => ({
    backing,
    log: {
      ...log,
      create: async (name, bytes) => {
        const file = await log.create(name, bytes)
        const sync = async () => {
          if (isHeld && name === 'place') await new Promise<void>((resolve) => (passes = resolve))
          await file.sync()
        }
        return { ...file, sync }
      },
    },
  }))
  disk.line(true)
  await write(disk, 0)
  const flushed = flush(disk)
  isHeld = true
  const notedSince = async () => ((await since()) ?? 0) !== 0
  while (!(await notedSince())) {
    passes?.()
    await turn()
  }
  disk.acknowledged(disk.epoch, disk.last)
  await flushed
  isHeld = false
  passes?.()
  await until(async () => !(await notedSince()), 'there was no such span')
  assert.deepEqual(disk.problems, [])
  let isAnswered = false
  await write(disk, 512)
  const second = flush(disk).then(() => (isAnswered = true))
  await until(() => disk.durable === disk.last, 'it is synced')
  assert.equal(isAnswered, false)
  disk.acknowledged(disk.epoch, disk.last)
  await second
  await disk[Symbol.asyncDispose]()
})

test('the mark of a span that is given up with its epoch is made anew', async () => {
  const { open, spans, since } = scene(4)
  const disk = await open()
  await write(disk, 0)
  await flush(disk)
  disk.line(true)
  disk.acknowledged(disk.epoch, disk.last)
  await until(async () => (await spans(disk)).length === 1, 'the span is in the log')
  const { epoch } = disk
  disk.lostHistory('the vault found damage')
  await until(() => disk.epoch > epoch, 'a new epoch')
  await until(async () => (await spans(disk)).length === 1, 'the span is in the log of the new epoch')
  assert.notEqual(await since(), 0)
  disk.acknowledged(disk.epoch, disk.durable)
  await until(async () => (await since()) === 0, 'the place forgets what the vault knows')
  await disk[Symbol.asyncDispose]()
})
