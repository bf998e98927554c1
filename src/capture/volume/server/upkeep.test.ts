import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Seeded } from '../../../../test/sim/random.ts'
import { HastyClock, SimulatedVolumeDisk } from '../../../../test/support/volume-disk-files.ts'
import { turn } from '../../../../test/support/volume-world.ts'
import type { Clock } from '../../../base/clock.ts'
import type { Id, VolumeSettings } from '../../../model/source.ts'
import { VolumeDisk } from './disk.ts'
import type { Backing, VolumeFiles } from './files.ts'

const volume = 'ffeeddccbbaa99887766554433221100' as Id
const segmentBytes = 256 * 1024

interface Scene {
  readonly disks: SimulatedVolumeDisk
  readonly clock: Clock
  open(files?: VolumeFiles, more?: Partial<VolumeSettings>): Promise<VolumeDisk>
}

function scene(seed: number): Scene {
  const random = new Seeded(seed)
  const disks = new SimulatedVolumeDisk({
    random: random.fork('disk'),
    backingBytes: 1024 ** 2,
    logCapacity: 1024 ** 3,
  })
  const clock = new HastyClock(random.fork('clock'))
  const settings = { backing: '/simulated', logBytesMax: 8 * segmentBytes }
  return {
    disks,
    clock,
    open: (files = disks.files(), more = {}) =>
      VolumeDisk.open({
        files,
        clock,
        random,
        volume,
        name: 'v',
        settings: { ...settings, ...more },
        limits: { segmentBytes, applyMs: 1, checkpointMs: 1 },
        told: { durable: () => {}, epoch: () => {}, ended: () => {} },
      }),
  }
}

function ask(disk: VolumeDisk, request: Record<string, unknown>): Promise<void> {
  return new Promise((resolve, reject) => {
    const answer = { done: resolve, failed: (error: string) => reject(new Error(error)) }
    disk.take([{ isForced: false, mayMakeHole: true, ...request, answer } as never])
  })
}

const write = (disk: VolumeDisk, at: number, bytes: number): Promise<void> =>
  ask(disk, { kind: 'write', at, bytes, data: Buffer.alloc(bytes, 7) })

async function until(holds: () => boolean): Promise<void> {
  for (let turns = 0; !holds(); turns++) {
    assert.ok(turns < 10_000, 'it never happens')
    await turn()
  }
}

test('a writer that found no room in the log goes on by itself once there is some', { timeout: 60_000 }, async () => {
  const { disks, open } = scene(3)
  const files = disks.files()
  let hasRoom = true
  const create = async (name: string, bytes: number) => {
    const file = await files.log.create(name, bytes)
    const write = (parts: readonly Uint8Array[], at: number) =>
      hasRoom || name !== 'spare' ? file.write(parts, at) : 0
    return { ...file, write }
  }
  await using disk = await open({ ...files, log: { ...files.log, create } })
  await write(disk, 0, 100_000)
  await ask(disk, { kind: 'flush' })
  hasRoom = false
  let isAnswered = false
  const writing = write(disk, 100_000, 100_000).then(() => (isAnswered = true))
  for (let turns = 0; turns < 300; turns++) await turn()
  assert.ok(!isAnswered)
  hasRoom = true
  await until(() => isAnswered)
  await writing
})

test('a sync that hangs is noticed, whichever other one was under way when it began', { timeout: 60_000 }, async () => {
  const { disks, clock, open } = scene(4)
  const files = disks.files()
  const gates = { log: gate(), backing: gate() }
  const create = async (name: string, bytes: number) => {
    const file = await files.log.create(name, bytes)
    return { ...file, sync: () => (name === 'spare' ? gates.log.pass() : Promise.resolve()).then(() => file.sync()) }
  }
  const backing = { ...files.backing, sync: () => gates.backing.pass().then(() => files.backing.sync()) }
  await using disk = await open({ log: { ...files.log, create }, backing })
  gates.backing.shut()
  await write(disk, 0, 4096)
  await until(() => gates.backing.waits)
  gates.log.shut()
  await write(disk, 4096, 4096)
  await until(() => gates.log.waits)
  gates.backing.open()
  for (let turns = 0; turns < 100; turns++) await turn()
  await clock.sleep(60_000)
  const { stalledMs, problems } = disk
  gates.log.open()
  assert.ok(stalledMs.log >= 60_000, `${stalledMs.log} ms`)
  assert.equal(stalledMs.backing, 0)
  assert.ok(problems.some(({ code, message }) => code === 'volume-disk-slow' && /sync of the log/.test(message)))
  await until(() => disk.problems.length === 0)
})

test('a read, or a write, of the backing that hangs is noticed as a sync is', { timeout: 60_000 }, async () => {
  for (const what of ['read', 'write'] as const) {
    const { disks, clock, open } = scene(4)
    const files = disks.files()
    const hang = gate()
    const backing: Backing = {
      ...files.backing,
      readNow: () => false,
      read: (into, at) => (what === 'read' ? hang.pass() : Promise.resolve()).then(() => files.backing.read(into, at)),
      apply: (steps) => (what === 'write' ? hang.pass() : Promise.resolve()).then(() => files.backing.apply(steps)),
    }
    await using disk = await open({ log: files.log, backing })
    hang.shut()
    if (what === 'write') await write(disk, 0, 4096)
    else {
      const answer = { done: () => {}, failed: () => {} }
      disk.take([{ kind: 'read', at: 8192, bytes: 512, into: Buffer.alloc(512), answer }])
    }
    await until(() => hang.waits)
    await clock.sleep(60_000)
    const { stalledMs, problems } = disk
    hang.open()
    assert.equal(stalledMs.log, 0)
    assert.ok(stalledMs.backing >= 60_000, `${stalledMs.backing} ms of a ${what}`)
    assert.deepEqual(
      problems.map(({ code, message }) => [code, message.slice(0, 25)]),
      [['volume-disk-slow', `a ${what} of the backing has`.slice(0, 25)]],
    )
    await until(() => disk.problems.length === 0)
  }
})

test(
  'at zero loss also those who wait for room in the log go on after a while without the vault',
  { timeout: 60_000 },
  async () => {
    const { open } = scene(5)
    await using disk = await open(undefined, { zeroLoss: { degradeMs: 5000 } })
    // Nobody asks for a flush, which would wait for the vault.
    for (let count = 0; count < 40; count++) {
      let isAnswered = false
      const writing = write(disk, (count % 10) * 100_000, 100_000).then(() => (isAnswered = true))
      await until(() => isAnswered)
      await writing
    }
    assert.ok(disk.problems.some(({ code }) => code === 'zero-loss-degraded'))
  },
)

function gate() {
  let opened: (() => void)[] | undefined
  return {
    shut: () => void (opened ??= []),
    open: () => {
      const waiting = opened
      opened = undefined
      for (const resolve of waiting ?? []) resolve()
    },
    get waits() {
      return (opened?.length ?? 0) > 0
    },
    pass: () => new Promise<void>((resolve) => (opened === undefined ? resolve() : void opened.push(resolve))),
  }
}
