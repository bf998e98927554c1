import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { mangled } from '../../../test/support/arbitrary.ts'
import {
  commitBody,
  mainData,
  overwriteBody,
  restorePointBody,
  WalBuilder,
  type WalMajor,
  walMajors,
} from '../../../test/support/wal.ts'
import { Malformed } from '../../base/bytes.ts'
import { advanceLsn, lsn } from '../../model/lsn.ts'
import { moment } from '../../model/moment.ts'
import type { WalEvent } from './events.ts'
import { type WalEnd, WalScanner, type WalScanStart } from './scanner.ts'

const noon = 1_800_000_000_000_000
const heap = 10

/** Commits of every form between other records, over page and segment borders; what has to be found is told beside. */
function someWal(major: WalMajor) {
  const wal = new WalBuilder(major)
  const expected: WalEvent[] = []
  const add = (manager: number, flags: number, body: Uint8Array, xid = 0) => {
    const start = wal.record(manager, flags, body, { xid })
    return { start, end: wal.end }
  }
  const fill = (bytes: number) => add(heap, 0, mainData(Buffer.alloc(bytes, 0xcd)), 5)

  fill(200)
  const plain = commitBody(major, { time: noon })
  expected.push({
    kind: 'commit',
    ...add(1, plain.flags, plain.body, 700),
    xid: 700,
    subtransactions: 0,
    time: moment(noon),
  })
  fill(9000)
  const full = commitBody(major, {
    time: noon + 1,
    database: 16384,
    subtransactions: 9000,
    files: 40,
    statistics: 30,
    invalidations: 700,
  })
  const rich = { xid: 701, subtransactions: 9000, time: moment(noon + 1), database: 16384 }
  expected.push({ kind: 'commit', ...add(1, full.flags, full.body, 701), ...rich })
  const prepared = commitBody(major, {
    time: noon + 2,
    database: 5,
    invalidations: 2,
    prepared: { xid: 699, gid: 'two phases' },
  })
  expected.push({
    kind: 'commit-prepared',
    ...add(1, 0x30 | prepared.flags, prepared.body),
    xid: 699,
    subtransactions: 0,
    time: moment(noon + 2),
    database: 5,
    gid: 'two phases',
  })
  const origin = Buffer.concat([Buffer.of(253, 1, 0, 252, 9, 9, 9, 9), plain.body])
  expected.push({ kind: 'abort', ...add(1, 0x20, origin, 702), xid: 702, subtransactions: 0, time: moment(noon) })
  expected.push({
    kind: 'restore-point',
    ...add(0, 0x70, restorePointBody('vor dem Mittag', noon + 3)),
    name: 'vor dem Mittag',
    time: moment(noon + 3),
  })
  fill(20_000)
  const torn = wal.tornRecord(30_000)
  expected.push({
    kind: 'overwrite-contrecord',
    ...add(0, 0xd0, overwriteBody(torn, noon + 4)),
    overwritten: torn,
    time: moment(noon + 4),
  })
  const switched = wal.switchSegment()
  expected.push({ kind: 'segment-switch', start: switched, end: advanceLsn(wal.start, wal.segmentBytes) })
  fill(100)
  // Commits at every place a page can end in: inside of their headers, of their bodies, just behind.
  for (let count = 0; count < 300; count++) {
    fill(8192 - 40 - 24 - 24 - 100 - (count % 3) * 8)
    const start = add(1, 0, plain.body, 1000 + count)
    expected.push({ kind: 'commit', ...start, xid: 1000 + count, subtransactions: 0, time: moment(noon) })
  }
  return { wal, expected }
}

const scan = (bytes: Uint8Array, start: WalScanStart, pieceBytes = bytes.length) => {
  const scanner = new WalScanner(start)
  const events: WalEvent[] = []
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    events.push(...scanner.push(bytes.subarray(at, at + pieceBytes), scanner.position))
  }
  return { scanner, events, end: scanner.ending() }
}

const startOf = (wal: WalBuilder, options: Partial<WalScanStart> = {}): WalScanStart => ({
  start: wal.start,
  segmentBytes: wal.segmentBytes,
  ...options,
})

for (const major of walMajors) {
  test(`transactions in WAL of version ${major} are told, whatever pieces it comes in`, () => {
    const { wal, expected } = someWal(major)
    const bytes = wal.bytes
    for (const checksums of [false, true]) {
      for (const pieceBytes of [bytes.length, 131_072, 8192, 1000, 37]) {
        const { scanner, events, end } = scan(bytes, startOf(wal, { checksums }), pieceBytes)
        assert.deepEqual(events, expected)
        assert.equal(end.reason, 'exhausted')
        assert.equal(scanner.major, major)
        assert.equal(scanner.timeline, 1)
        assert.equal(scanner.systemIdentifier, wal.systemIdentifier)
      }
    }
  })
}

test('cut at any byte, the scan goes on from its snapshot with the same events', () => {
  const { wal, expected } = someWal(15)
  const bytes = wal.bytes
  for (const checksums of [false, true]) {
    let scanner = new WalScanner(startOf(wal, { checksums }))
    const events: WalEvent[] = []
    let snapshotBytes = 0
    const next = (until: number) => {
      const at = scanner.position - wal.start
      events.push(...scanner.push(bytes.subarray(at, until), scanner.position))
      const snapshot = scanner.snapshot()
      snapshotBytes = Math.max(snapshotBytes, snapshot.length)
      scanner = WalScanner.resume(snapshot)
      assert.deepEqual(Buffer.from(scanner.snapshot()), Buffer.from(snapshot))
    }
    const everyByteUntil = 90_000
    for (let until = 1; until <= everyByteUntil; until++) next(until)
    for (let until = everyByteUntil; until < bytes.length; until += 4093) next(until)
    next(bytes.length)
    assert.deepEqual(events, expected)
    assert.ok(snapshotBytes <= 512, `${snapshotBytes} bytes`)
  }
})

test('a scan may start anywhere: at a page it passes over the record that began before', () => {
  const { wal, expected } = someWal(16)
  const bytes = wal.bytes
  for (const from of [8192, 8192 * 2, 8192 * 3, 8193, 12_345, 1 << 20, (1 << 20) + 8192 * 7 + 1]) {
    const start = advanceLsn(wal.start, from)
    const { events, end } = scan(bytes.subarray(from), startOf(wal, { start }), 5000)
    assert.equal(end.reason, 'exhausted')
    const first = events[0]?.start ?? 0
    assert.deepEqual(
      events,
      expected.filter((event) => event.start >= first),
    )
    assert.ok(expected.filter((event) => event.start < first && event.start >= start).length <= 1)
  }
})

test('a scan may start where a record is known to start', () => {
  const { wal, expected } = someWal(16)
  const bytes = wal.bytes
  for (const { start } of expected.slice(0, 20)) {
    const { events, end } = scan(bytes.subarray(start - wal.start), startOf(wal, { start, startsRecord: true }))
    assert.equal(end.reason, 'exhausted')
    assert.deepEqual(events, expected.slice(expected.findIndex((event) => event.start === start)))
  }
  assert.throws(() => new WalScanner(startOf(wal, { start: advanceLsn(wal.start, 8), startsRecord: true })), Malformed)
  assert.throws(
    () => new WalScanner(startOf(wal, { start: advanceLsn(wal.start, 333), startsRecord: true })),
    Malformed,
  )
})

test('bytes that do not follow the ones before are refused', () => {
  const { wal } = someWal(16)
  const scanner = new WalScanner(startOf(wal))
  scanner.push(wal.bytes.subarray(0, 100), wal.start)
  assert.throws(() => scanner.push(wal.bytes.subarray(108, 200), advanceLsn(wal.start, 108)), Malformed)
})

test('a long record takes no memory: its lists are passed over', () => {
  const wal = new WalBuilder(17)
  const { flags, body } = commitBody(17, {
    time: noon,
    database: 1,
    subtransactions: 2_000_000,
    invalidations: 500_000,
  })
  wal.record(1, flags, body, { xid: 3 })
  const bytes = wal.bytes
  const scanner = new WalScanner(startOf(wal))
  const events: WalEvent[] = []
  for (let at = 0; at < bytes.length; at += 65_536) {
    assert.ok(scanner.snapshot().length < 512)
    events.push(...scanner.push(bytes.subarray(at, at + 65_536), scanner.position))
  }
  assert.equal(events.length, 1)
  assert.ok(events[0]?.kind === 'commit' && events[0].subtransactions === 2_000_000)
})

test('where valid WAL ends is told, and why', () => {
  const ends: Record<
    string,
    { change: (wal: WalBuilder, bytes: Buffer) => Buffer; reason: WalEnd['reason']; at: number }
  > = {
    'zeros follow': { change: (_, bytes) => Buffer.concat([bytes, Buffer.alloc(500)]), reason: 'blank', at: 3 },
    'nothing follows': { change: (_, bytes) => bytes, reason: 'exhausted', at: 3 },
    'the last record is cut': { change: (_, bytes) => bytes.subarray(0, -20), reason: 'unfinished', at: 2 },
    'a record follows that links to another place': {
      change: (wal) => {
        wal.record(heap, 0, new Uint8Array(100), { previous: wal.start - 4096 })
        return wal.bytes
      },
      reason: 'recycled',
      at: 3,
    },
    'pages of an older time follow': {
      change: (wal, bytes) => {
        const page = Buffer.from(bytes.subarray(0, 8192))
        const rest = 8192 - (bytes.length % 8192)
        wal.record(heap, 0, new Uint8Array(rest - 24))
        return Buffer.concat([wal.bytes, page])
      },
      reason: 'recycled',
      at: 4,
    },
    'a record does not go on': {
      change: (wal) => {
        wal.tornRecord(30_000)
        const torn = wal.bytes
        torn[torn.length - 24 + 2] = 0
        return torn
      },
      reason: 'torn',
      at: 3,
    },
    'a record goes on with another length': {
      change: (wal) => {
        wal.record(heap, 0, new Uint8Array(10_000))
        const bytes = wal.bytes
        bytes.writeUInt32LE(77, Math.floor(bytes.length / 8192) * 8192 + 16)
        return bytes
      },
      reason: 'torn',
      at: 3,
    },
    'WAL of another version': {
      change: (_, bytes) => (bytes.writeUInt16LE(0xd101, 8192), bytes),
      reason: 'foreign',
      at: 1,
    },
    'WAL of an unknown version': {
      change: (_, bytes) => (bytes.writeUInt16LE(0xd0ff, 0), bytes),
      reason: 'foreign',
      at: 0,
    },
    'segments of another size': {
      change: (_, bytes) => (bytes.writeUInt32LE(1 << 24, 32), bytes),
      reason: 'foreign',
      at: 0,
    },
  }
  for (const [name, { change, reason, at }] of Object.entries(ends)) {
    const wal = new WalBuilder(18)
    const starts = [
      wal.record(heap, 0, new Uint8Array(100)),
      wal.record(heap, 0, new Uint8Array(12_000)),
      wal.record(heap, 0, new Uint8Array(100)),
    ]
    const places = [wal.start, ...starts.slice(1), wal.position]
    const bytes = change(wal, Buffer.from(wal.bytes))
    if (at === 4) places.push(lsn(wal.start + bytes.length - 8192))
    const { scanner, events, end } = scan(bytes, startOf(wal), 1000)
    assert.equal(end.reason, reason, name)
    assert.equal(end.end, places[at], `${name}: ${end.found}`)
    assert.deepEqual(events, [])
    const told = reason !== 'exhausted' && reason !== 'unfinished'
    assert.equal(scanner.ended !== undefined, told, name)
    if (told) assert.throws(() => scanner.snapshot(), Malformed)
  }
})

test('WAL of another cluster is not read', () => {
  const { wal } = someWal(14)
  const { end, events } = scan(wal.bytes, startOf(wal, { systemIdentifier: 5n }))
  assert.equal(end.reason, 'foreign')
  assert.deepEqual(events, [])
})

test('with checksums, any flipped bit of a record is found', () => {
  const wal = new WalBuilder(13)
  for (let count = 0; count < 20; count++) wal.record(heap, 0, new Uint8Array(1000))
  const good = wal.bytes
  assert.equal(scan(good, startOf(wal, { checksums: true }), 777).end.reason, 'exhausted')
  for (let at = 40; at < 8000; at += 97) {
    const bytes = Buffer.from(good)
    bytes[at] = (bytes[at] as number) ^ 0x10
    const { end } = scan(bytes, startOf(wal, { checksums: true }), 777)
    assert.ok(end.reason !== 'exhausted' && end.end <= wal.start + at, `${at}: ${end.reason}`)
  }
})

test('random and damaged bytes end in an end that is told', () => {
  const { wal } = someWal(15)
  const good = wal.bytes
  const start = fc.nat(Math.floor(good.length / 8192) - 4)
  const stretch = start.map((page) => ({ page, bytes: good.subarray(page * 8192, page * 8192 + 32_768) }))
  const pieces = fc.integer({ min: 1, max: 9000 })
  const reasons = new Set<string>()
  const check = (bytes: Uint8Array, page: number, pieceBytes: number, checksums: boolean) => {
    const at = advanceLsn(wal.start, page * 8192)
    const { scanner, end } = scan(bytes, startOf(wal, { start: at, checksums }), pieceBytes)
    reasons.add(end.reason)
    assert.ok(end.end >= at && end.end <= at + bytes.length + wal.segmentBytes)
    if (scanner.ended === undefined) assert.ok(scanner.snapshot().length < 512)
  }
  fc.assert(
    fc.property(
      stretch.chain(({ page, bytes }) => mangled(fc.constant(bytes)).map((changed) => ({ page, changed }))),
      pieces,
      fc.boolean(),
      ({ page, changed }, pieceBytes, checksums) => check(changed, page, pieceBytes, checksums),
    ),
    { numRuns: 1500 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20_000 }), pieces, (bytes, pieceBytes) =>
      check(bytes, 0, pieceBytes, false),
    ),
    { numRuns: 200 },
  )
  assert.ok(reasons.size >= 4, [...reasons].join(' '))
})

test('a snapshot that is none is refused', () => {
  const { wal } = someWal(15)
  const scanner = new WalScanner(startOf(wal))
  scanner.push(wal.bytes.subarray(0, 30_000), wal.start)
  const good = scanner.snapshot()
  fc.assert(
    fc.property(mangled(fc.constant(good)), (bytes) => {
      try {
        const resumed = WalScanner.resume(bytes)
        resumed.push(wal.bytes.subarray(30_000, 40_000), resumed.position)
      } catch (error) {
        if (!(error instanceof Malformed)) throw error
      }
    }),
    { numRuns: 2000 },
  )
})
