import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Seeded } from '../../../../test/sim/random.ts'
import { SimulatedVolumeDisk } from '../../../../test/support/volume-disk-files.ts'
import { turn } from '../../../../test/support/volume-world.ts'
import type { Id } from '../../../model/source.ts'
import type { Backing } from './files.ts'
import { VolumeLog } from './log.ts'
import { PendingBlocks } from './pending.ts'
import { systemClock } from '../../../base/clock.ts'
import { VolumeReads } from './reads.ts'
import { UnderWay } from './under-way.ts'
import type { RecordNumber } from '../../../format/volume-log.ts'

const volume = 'ffeeddccbbaa99887766554433221100' as Id

function readsOf(backing: Backing): { reads: VolumeReads; pending: PendingBlocks } {
  const disks = new SimulatedVolumeDisk({ random: new Seeded(1), backingBytes: 4096, logCapacity: 4096 })
  const { log: folder } = disks.files()
  const log = new VolumeLog({ folder, volume, random: new Seeded(1), segmentBytes: 4096 })
  const pending = new PendingBlocks(0 as RecordNumber)
  return { reads: new VolumeReads({ log, pending, backing, underWay: new UnderWay(systemClock) }), pending }
}

const empty: Backing = {
  bytes: 1024 ** 3,
  readNow: () => false,
  read: () => Promise.resolve(),
  apply: () => Promise.resolve(),
  sync: () => Promise.resolve(),
  dataRanges: () => [],
}

test('a read that fails is answered when nothing more is put into its place', async () => {
  let finish: () => void = () => {}
  const read: Backing['read'] = (into, at) =>
    at === 0
      ? new Promise((resolve) => (finish = () => resolve(void into.fill(9))))
      : Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }))
  const { reads, pending } = readsOf({ ...empty, read })
  // What is pending makes three parts of it.
  pending.zero(4096, 4096)
  const into = Buffer.alloc(12_288)
  const answers: string[] = []
  const answer = { done: () => answers.push('done'), failed: (error: string) => answers.push(error) }
  reads.read({ kind: 'read', at: 0, bytes: into.length, into, answer })
  for (let turns = 0; turns < 5; turns++) await turn()
  assert.deepEqual(answers, [], 'its place may still be written')
  finish()
  await turn()
  assert.deepEqual(answers, ['EIO'])
})

test('of a backing in ever so many pieces no more is told at once than goes into an answer, and one asks after the other', async () => {
  const piece = 4096
  let asked = 0
  const dataRanges: Backing['dataRanges'] = (at, bytes) => {
    asked += bytes
    return Array.from({ length: bytes / (2 * piece) }, (_, index) => ({ at: at + 2 * index * piece, bytes: piece }))
  }
  const { reads } = readsOf({ ...empty, dataRanges })
  const answers = [0, 1, 2].map((part) => reads.extents(part * 1024 ** 2, 128 * 1024 ** 2))
  assert.equal(asked, 0, 'others come first')
  for (const [part, answer] of answers.entries()) {
    const extents = await answer
    assert.ok(asked < (part + 1) * 32 * 1024 ** 2, `${asked} bytes were looked at`)
    assert.ok(extents.length >= 4096)
    let at = part * 1024 ** 2
    for (const [index, extent] of extents.entries()) {
      assert.deepEqual(extent, { at, bytes: piece, is: index % 2 === 0 ? 'data' : 'hole' })
      at += piece
    }
  }
})
