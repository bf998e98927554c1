import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Seeded } from '../../../../test/sim/random.ts'
import { SimulatedVolumeDisk } from '../../../../test/support/volume-disk-files.ts'
import type { RecordDraft, RecordNumber } from '../../../format/volume-log.ts'
import { VolumeLogReader } from '../../../format/volume-log-reader.ts'
import { moment } from '../../../model/moment.ts'
import type { Id } from '../../../model/source.ts'
import type { LogFile, LogFolder } from './files.ts'
import { VolumeLog } from './log.ts'

const volume = 'ffeeddccbbaa99887766554433221100' as Id
const segmentBytes = 256 * 1024
const place = { epoch: 1, moment: moment(1_800_000_000_000_000) }

const draft = (byte: number): RecordDraft => ({
  kind: 'write',
  at: 0,
  data: Buffer.alloc(100_000, byte),
  isForced: false,
})

/** As on file systems that write elsewhere what is written over: the room that was set aside in segments may be none. */
function withRoom(folder: LogFolder): { folder: LogFolder; room: { left: number } } {
  const room = { left: Number.POSITIVE_INFINITY }
  const create = async (name: string, bytes: number): Promise<LogFile> => {
    const file = await folder.create(name, bytes)
    const write = (parts: readonly Uint8Array[], at: number): number => {
      const data = Buffer.concat(parts).subarray(0, room.left)
      room.left -= data.length
      return data.length === 0 ? 0 : file.write([data], at)
    }
    return { ...file, write }
  }
  return { folder: { ...folder, create }, room }
}

test('where a file system has no room for the first record of a segment after all, no segment takes the name of another', async () => {
  const random = new Seeded(7)
  const disks = new SimulatedVolumeDisk({ random, backingBytes: 4096, logCapacity: 8 * segmentBytes })
  const { folder, room } = withRoom(disks.files().log)
  const log = new VolumeLog({ folder, volume, random, segmentBytes })
  log.goOnAfter(0)
  await log.makeSpare()
  assert.equal(log.append([draft(1), draft(2)], place).count, 2)
  await log.makeSpare()
  room.left = 60_000
  assert.equal(log.append([draft(3)], place).count, 0)
  room.left = Number.POSITIVE_INFINITY
  if (!log.hasSpare) await log.makeSpare()
  assert.equal(log.append([draft(3), draft(4)], place).count, 2)
  await log.sync()
  for (let upTo = 2; await log.recycle(upTo););
  await using reader = new VolumeLogReader(disks.logForReaders(), { volume, from: 3 as RecordNumber })
  const found: number[] = []
  for await (const records of reader.read(4 as RecordNumber)) for (const { number } of records) found.push(number)
  assert.deepEqual(found, [3, 4])
})
