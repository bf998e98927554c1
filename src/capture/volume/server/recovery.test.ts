import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Seeded } from '../../../../test/sim/random.ts'
import { HastyClock, SimulatedVolumeDisk } from '../../../../test/support/volume-disk-files.ts'
import { turn } from '../../../../test/support/volume-world.ts'
import { isCode } from '../../../base/errors.ts'
import type { Id } from '../../../model/source.ts'
import { VolumeDisk } from './disk.ts'
import type { VolumeFiles } from './files.ts'

const volume = 'ffeeddccbbaa99887766554433221100' as Id
const segment = '0000000000000001.log'

test('a segment that is missed since its header is damaged stays as it is', { timeout: 60_000 }, async () => {
  const random = new Seeded(11)
  const disks = new SimulatedVolumeDisk({
    random: random.fork('disk'),
    backingBytes: 1024 ** 2,
    logCapacity: 1024 ** 3,
  })
  const open = (files: VolumeFiles): Promise<VolumeDisk> =>
    VolumeDisk.open({
      files,
      clock: new HastyClock(random.fork('clock')),
      random,
      volume,
      name: 'v',
      settings: { backing: '/simulated', logBytesMax: 1024 ** 3 },
      limits: { segmentBytes: 256 * 1024 },
      told: { durable: () => {}, epoch: () => {}, ended: () => {} },
    })
  const files = disks.files()
  let isOpen = false
  // There is no checkpoint: the log is needed.
  const sync = (): Promise<void> => (isOpen ? new Promise(() => {}) : files.backing.sync())
  const disk = await open({ ...files, backing: { ...files.backing, sync } })
  isOpen = true
  const data = Buffer.alloc(4096, 7)
  await new Promise<void>((done, failed) => {
    disk.take([{ kind: 'write', at: 0, bytes: data.length, data, isForced: true, answer: { done, failed } }])
  })
  // Until it is noted how far the log is synced.
  for (let turns = 0; turns < 300; turns++) await turn()
  disks.end('kill')
  for (const copy of [0, 64]) disks.flip(segment, copy + 20, 1)
  const before = Buffer.from(disks.content(segment) as Buffer)
  await assert.rejects(open(disks.files()), (error) => isCode(error, 'damaged'))
  assert.ok(disks.content(segment)?.equals(before), 'it is all that is left of what was written')
})
