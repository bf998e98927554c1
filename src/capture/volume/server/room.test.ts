import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Seeded } from '../../../../test/sim/random.ts'
import { HastyClock, SimulatedVolumeDisk } from '../../../../test/support/volume-disk-files.ts'
import { turn, VolumeWorld } from '../../../../test/support/volume-world.ts'
import { isCode } from '../../../base/errors.ts'
import type { Id } from '../../../model/source.ts'
import { VolumeDisk } from './disk.ts'
import type { LogFile, LogFolder, VolumeFiles } from './files.ts'

const volume = 'ffeeddccbbaa99887766554433221100' as Id
const segmentBytes = 256 * 1024

/** A file system that copies on write: what has its place already needs new room all the same, and at times there is none. */
function copyingOnWrite(
  { log, backing }: VolumeFiles,
  isFull: (how: 'write' | 'sync' | 'name') => boolean,
): VolumeFiles {
  const noRoom = (): Error => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
  const file = (name: string, inner: LogFile): LogFile =>
    name !== 'place' && !name.startsWith('touched')
      ? inner
      : {
          ...inner,
          write: (parts, at) => (isFull('write') ? 0 : inner.write(parts, at)),
          sync: async () => {
            if (isFull('sync')) throw noRoom()
            await inner.sync()
          },
        }
  const folder: LogFolder = {
    ...log,
    open: async (name) => {
      const inner = await log.open(name)
      return inner && file(name, inner)
    },
    create: async (name, bytes) => file(name, await log.create(name, bytes)),
    rename: (from, to) => {
      if (isFull('name')) throw noRoom()
      log.rename(from, to)
    },
  }
  return { log: folder, backing }
}

function scene(seed: number) {
  const random = new Seeded(seed)
  const disks = new SimulatedVolumeDisk({
    random: random.fork('disk'),
    backingBytes: 1024 ** 2,
    logCapacity: 1024 ** 3,
  })
  const state = { isFull: false, refused: 0, ended: [] as unknown[] }
  const isFull = (): boolean => {
    if (state.isFull) state.refused++
    return state.isFull
  }
  const open = () =>
    VolumeDisk.open({
      files: copyingOnWrite(disks.files(), isFull),
      clock: new HastyClock(random.fork('clock')),
      random,
      volume,
      name: 'v',
      settings: { backing: '/simulated', logBytesMax: 4 * segmentBytes },
      limits: { segmentBytes, applyMs: 1, checkpointMs: 1 },
      told: { durable: () => {}, epoch: () => {}, ended: (error) => state.ended.push(error) },
    })
  return { disks, state, open }
}

function ask(disk: VolumeDisk, request: Record<string, unknown>): Promise<void> {
  return new Promise((resolve, reject) => {
    const answer = { done: resolve, failed: (error: string) => reject(new Error(error)) }
    disk.take([{ isForced: false, mayMakeHole: true, ...request, answer } as never])
  })
}

const write = (disk: VolumeDisk, at: number, data: Buffer): Promise<void> =>
  ask(disk, { kind: 'write', at, bytes: data.length, data })
const flush = (disk: VolumeDisk): Promise<void> => ask(disk, { kind: 'flush' })

async function read(disk: VolumeDisk, at: number, bytes: number): Promise<Buffer> {
  const into = Buffer.alloc(bytes)
  await ask(disk, { kind: 'read', at, bytes, into })
  return into
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let turns = 0; !holds(); turns++) {
    assert.ok(turns < 10_000, `it never comes to be: ${what}`)
    await turn()
  }
}

test('a volume whose place finds no room goes on, says so, and has lost nothing when there is room again', async () => {
  const { state, open } = scene(1)
  const disk = await open()
  state.isFull = true
  for (let count = 0; count < 4; count++) {
    await write(disk, count * 4096, Buffer.alloc(4096, count + 1))
    await flush(disk)
  }
  await until(() => state.refused > 3, 'it was tried')
  assert.deepEqual(state.ended, [])
  assert.ok(
    disk.problems.some(({ code, message }) => code === 'volume-log-full' && /where the volume stands/.test(message)),
  )
  assert.ok((await read(disk, 12_288, 4096)).equals(Buffer.alloc(4096, 4)))
  state.isFull = false
  await until(() => disk.problems.length === 0, 'nothing is wrong any more')
  await disk[Symbol.asyncDispose]()
  const again = await open()
  assert.ok((await read(again, 12_288, 4096)).equals(Buffer.alloc(4096, 4)))
  await again[Symbol.asyncDispose]()
})

test('history is given up only once that can be noted: until then writers wait, and nobody is told of an error', async () => {
  const { disks, state, open } = scene(2)
  const disk = await open()
  const { epoch } = disk
  state.isFull = true
  let written = 0
  const writes = Array.from({ length: 40 }, (_, index) =>
    write(disk, (index % 8) * 131_072, Buffer.alloc(131_072, index)).then(() => written++),
  )
  await until(() => state.refused > 20, 'it was tried')
  assert.ok(written < writes.length)
  assert.equal(disk.epoch, epoch)
  state.isFull = false
  await Promise.all(writes)
  assert.ok(disk.epoch > epoch)
  assert.deepEqual(state.ended, [])
  await flush(disk)
  disks.end('power')
  const again = await open()
  assert.ok((await read(again, 131_072 * 7, 131_072)).equals(Buffer.alloc(131_072, 39)))
  assert.equal(again.askTouched(0).regions.length, 16)
  await again[Symbol.asyncDispose]()
})

test('a server that finds no room when it starts serves nothing, and says what is to be done', async () => {
  const { disks, state, open } = scene(3)
  const disk = await open()
  await write(disk, 0, Buffer.alloc(4096, 1))
  await flush(disk)
  disks.end('kill')
  state.isFull = true
  await assert.rejects(open(), (error) => isCode(error, 'no-space') && /Make room/.test(error.hint ?? ''))
  state.isFull = false
  const again = await open()
  assert.ok((await read(again, 0, 4096)).equals(Buffer.alloc(4096, 1)))
  await again[Symbol.asyncDispose]()
})

test('wherever room lacks for a while, and the server ends in the midst of it, the volume is a state it had and the vault misses nothing', async () => {
  let refused = 0
  for (let seed = 1; seed <= 150; seed++) {
    const random = new Seeded(seed, 'no room')
    let isServed = false
    let left = 0
    const isFull = (): boolean => {
      if (left === 0 && random.chance(0.05)) left = random.integer(1, 6)
      if (!isServed || left === 0) return false
      left--
      refused++
      return true
    }
    const world = new VolumeWorld({
      random,
      logBytesMax: 4 * segmentBytes,
      planted: (files) => copyingOnWrite(files, isFull),
    })
    try {
      for (let round = 0; round < 3; round++) {
        isServed = false
        if ((await world.open()) === undefined) continue
        isServed = true
        world.disk.endAfter(random.skewed(1, 600), random.pick(['power', 'kill'] as const))
        for (let asks = random.integer(20, 80); asks > 0 && !world.hasEnded; asks--) {
          world.users.ask()
          if (random.chance(0.1)) await world.quiet()
          if (!world.hasEnded && random.chance(0.1)) await world.ship(random.chance(0.7))
        }
        if (!world.hasEnded) world.disk.end('kill')
        world.forgetReader()
        world.checkVault()
      }
      isServed = false
      while (!(await world.open()));
      await world.quiet()
      await world.ship(true)
      world.checkVault()
      await world.close()
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  }
  assert.ok(refused > 500, `${refused} times there was no room`)
})
