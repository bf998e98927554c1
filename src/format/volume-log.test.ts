import assert from 'node:assert/strict'
import { test } from 'node:test'
import { holdsForAnyBytes } from '../../test/support/any-bytes.ts'
import { isCode } from '../base/errors.ts'
import { moment } from '../model/moment.ts'
import type { Id } from '../model/source.ts'
import {
  decodeRecord,
  decodeSegmentHeader,
  encodeRecords,
  encodeSegmentHeader,
  formatSegmentName,
  parseSegmentName,
  type RecordDraft,
  type RecordNumber,
  seedOf,
  segmentHeaderBytes,
  type VolumeRecord,
} from './volume-log.ts'
import { LogGone, SegmentReader, type VolumeLogFolder, VolumeLogReader } from './volume-log-reader.ts'

const volume = '00112233445566778899aabbccddeeff' as Id
const header = { volume, epoch: 1_700_000_000, first: 7 as RecordNumber, salt: Buffer.alloc(16, 3) }
const drafts: RecordDraft[] = [
  { kind: 'resize', bytes: 1e12 },
  { kind: 'write', at: 512, data: Buffer.from('first'), isForced: false },
  { kind: 'zero', at: 2 ** 40, bytes: 2 ** 33, isForced: true },
  { kind: 'trim', at: 0, bytes: 512, isForced: false },
  { kind: 'flush' },
  { kind: 'mark', tag: 99, label: 'before the upgrade ✓' },
  { kind: 'write', at: 4096, data: Buffer.alloc(200_000, 'x'), isForced: true },
]

function segmentOf(some: readonly RecordDraft[], told = header, synced = 5): Buffer {
  const place = { seed: seedOf(told), number: told.first, moment: moment(1_800_000_000_000_001), synced }
  return Buffer.concat([encodeSegmentHeader(told), ...encodeRecords(some, place)])
}

function folderOf(files: Record<number, Buffer>): VolumeLogFolder {
  const named = new Map(
    Object.entries(files).map(([first, bytes]) => [formatSegmentName(Number(first) as RecordNumber), bytes]),
  )
  return {
    names: async () => [...named.keys(), 'place', 'spare'],
    open: async (name) => {
      const bytes = named.get(name)
      return (
        bytes && {
          read: async (into, at) => bytes.copy(into, 0, at, Math.min(bytes.length, at + 70_000)),
          close: async () => {},
        }
      )
    },
  }
}

async function readAll(folder: VolumeLogFolder, from: number, upTo: number): Promise<VolumeRecord[]> {
  await using reader = new VolumeLogReader(folder, { volume, from: from as RecordNumber })
  const records: VolumeRecord[] = []
  for await (const group of reader.read(upTo as RecordNumber)) records.push(...group)
  assert.equal(reader.next, upTo + 1)
  return records
}

const asWritten = (some: readonly RecordDraft[], first: number) =>
  some.map((draft, index) => ({ number: first + index, moment: 1_800_000_000_000_001, ...draft }))

test('records are read as they were written, whatever stands behind them', async () => {
  const segment = Buffer.concat([segmentOf(drafts), Buffer.alloc(1000, 'VREC')])
  assert.deepEqual(await readAll(folderOf({ 7: segment }), 7, 13), asWritten(drafts, 7))
  assert.deepEqual(await readAll(folderOf({ 7: segment }), 10, 12), asWritten(drafts, 7).slice(3, 6))
})

test('payloads are not copied on their way to the disk', () => {
  const data = Buffer.from('payload')
  const parts = encodeRecords([{ kind: 'write', at: 0, data, isForced: false }], {
    seed: 1,
    number: 1,
    moment: moment(1),
    synced: 0,
  })
  assert.ok(parts.includes(data))
})

test('a segment ends where the next one begins, also where old records of another use follow', async () => {
  const old = segmentOf(drafts, { ...header, salt: Buffer.alloc(16, 9) })
  const first = segmentOf(drafts.slice(0, 3))
  const second = segmentOf(drafts.slice(3), { ...header, first: 10 as RecordNumber })
  const reused = Buffer.concat([first, old.subarray(first.length)])
  assert.deepEqual(await readAll(folderOf({ 7: reused, 10: second }), 8, 13), asWritten(drafts, 7).slice(1))
})

test('a changed bit anywhere before the end is damage, never another record', async () => {
  const some = drafts.slice(0, 6)
  const whole = segmentOf(some)
  for (let at = segmentHeaderBytes; at < whole.length; at++) {
    const damaged = Buffer.from(whole)
    damaged[at]! ^= 1 << (at % 8)
    await assert.rejects(readAll(folderOf({ 7: damaged }), 7, 12), (error) => isCode(error, 'damaged'), `byte ${at}`)
  }
})

test('one copy of a header may be damaged, and both are damage', async () => {
  const some = drafts.slice(0, 2)
  for (let at = 0; at < segmentHeaderBytes; at++) {
    const damaged = segmentOf(some)
    damaged[at]! ^= 0x10
    assert.deepEqual(await readAll(folderOf({ 7: damaged }), 7, 8), asWritten(some, 7))
    damaged[(at + segmentHeaderBytes / 2) % segmentHeaderBytes]! ^= 0x10
    await assert.rejects(readAll(folderOf({ 7: damaged }), 7, 8), (error) => isCode(error, 'damaged'))
  }
})

test('records that the log has let go are gone, not damaged', async () => {
  await assert.rejects(readAll(folderOf({ 7: segmentOf(drafts) }), 5, 8), LogGone)
  await assert.rejects(readAll(folderOf({}), 1, 1), LogGone)
})

test('later records tell that a place was synced, and a torn tail has none that does', async () => {
  const lost = segmentOf(drafts.slice(0, 2))
  const rest = encodeRecords(drafts.slice(2, 5), { seed: seedOf(header), number: 9, moment: moment(2), synced: 8 })
  const segment = Buffer.concat([lost, ...rest])
  segment[lost.length - 1]! ^= 1
  const reader = await SegmentReader.open(folderOf({ 7: segment }), 7 as RecordNumber)
  assert.ok(reader)
  await using open = reader
  assert.deepEqual(
    (await open.read(7, 100)).map(({ number }) => number),
    [7],
  )
  assert.deepEqual(await open.read(8, 100), [])
  assert.equal(await open.syncedBehind(), 8)
  assert.ok(await open.find(9 as RecordNumber))
  assert.deepEqual(
    (await open.read(9, 100)).map(({ number }) => number),
    [9, 10, 11],
  )
})

test('names of segments are their first numbers, in order', () => {
  const name = formatSegmentName(255 as RecordNumber)
  assert.equal(name, '00000000000000ff.log')
  assert.equal(parseSegmentName(name), 255)
  for (const other of ['place', '00000000000000FF.log', '0000000000000000.log', 'ffffffffffffffff.log'])
    assert.equal(parseSegmentName(other), undefined)
})

test('any bytes are a header, a record or neither, and nothing outside them is read', () => {
  const whole = segmentOf(drafts.slice(0, 6))
  holdsForAnyBytes((bytes) => decodeSegmentHeader(bytes), whole.subarray(0, segmentHeaderBytes))
  holdsForAnyBytes((bytes) => decodeRecord(bytes, 0, seedOf(header)), whole.subarray(segmentHeaderBytes))
})
