import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Malformed } from '../base/bytes.ts'
import type { ChunkId } from '../model/change.ts'
import { moment } from '../model/moment.ts'
import { sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { type Frame, frameBytesMaxAtFirst, frameParts, FrameReader } from './frames.ts'
import { type Message, messageParts, readMessage } from './messages.ts'

async function* pieces(bytes: Buffer, sizes: () => number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length;) {
    const size = sizes()
    yield bytes.subarray(at, at + size)
    at += size
  }
}

async function framesOf(received: AsyncIterable<Uint8Array>): Promise<Frame[]> {
  const reader = new FrameReader(received, () => undefined)
  const frames: Frame[] = []
  for (let frame = await reader.next(); frame; frame = await reader.next()) frames.push(frame)
  return frames
}

test('frames come out as they went in, wherever the pieces are cut', async () => {
  const payloads = fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 40 })), {
    maxLength: 8,
  })
  await fc.assert(
    fc.asyncProperty(payloads, fc.integer({ min: 1, max: 50 }), async (sent, size) => {
      const bytes = Buffer.concat(sent.flatMap(([type, payload]) => frameParts(type, payload)))
      const found = await framesOf(pieces(bytes, () => size))
      assert.deepEqual(
        found.map(({ type, payload }) => [type, Uint8Array.from(payload)]),
        sent,
      )
    }),
  )
})

test('a length above the limit is refused before anything is kept of it', async () => {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(frameBytesMaxAtFirst + 1)
  await assert.rejects(framesOf(pieces(head, () => 5)), Malformed)
})

test('an end in the middle of a frame is not taken for an end in order', async () => {
  const bytes = Buffer.concat(frameParts(17, Buffer.alloc(100)))
  for (const length of [1, 4, 5, 104]) {
    await assert.rejects(framesOf(pieces(bytes.subarray(0, length), () => 7)), { code: 'unreachable' })
  }
})

const id = 'a'.repeat(32) as Id
const examples: Message[] = [
  { kind: 'hello', versions: [1], software: 'tidemark 0', now: moment(5), role: { is: 'journal', source: id } },
  { kind: 'hello', versions: [1, 2], software: 'tidemark 0', now: moment(5), role: { is: 'control' } },
  {
    kind: 'welcome',
    version: 1,
    software: 'tidemark 0',
    vault: id,
    now: moment(7),
    limits: { frameBytes: 100 },
    journal: { durable: sequence(9), cursor: Buffer.from([0, 255]), chunkKey: Buffer.alloc(32, 7) },
  },
  { kind: 'refuse', code: 'not-allowed', message: 'no', hint: 'ask' },
  { kind: 'ping', now: moment(2 ** 51) },
  { kind: 'pong', asked: moment(1), now: moment(2) },
  { kind: 'offer', tag: 3, ids: ['\u00ff'.repeat(32) as ChunkId, 'b'.repeat(32) as ChunkId] },
  { kind: 'block', bytes: Buffer.from('block') },
  { kind: 'batch', bytes: Buffer.from('batch') },
  {
    kind: 'report',
    now: moment(4),
    report: {
      state: 'live',
      covered: moment(3),
      upTo: sequence(1),
      dirty: 0,
      watching: 'fanotify',
      problems: [{ code: 'unreadable', message: 'm' }],
    },
  },
  { kind: 'marked', tag: 2 ** 50, sequence: sequence(77) },
  { kind: 'need', tag: 3, missing: [true, false, true, true, false, false, false, false, true] },
  { kind: 'acknowledged', durable: sequence(12) },
  { kind: 'stalled' },
  { kind: 'going-on' },
  { kind: 'mark', tag: 1, label: 'before the upgrade' },
  { kind: 'reconcile' },
  {
    kind: 'definitions',
    sources: [
      {
        id,
        name: '档案',
        kind: 'files',
        agent: id,
        paths: ['/srv'],
        exclude: ['*.tmp'],
        policy: { windowMs: 1, reconcileMs: 2, lagMsMax: 3 },
        paused: false,
      },
    ],
  },
  {
    kind: 'task',
    id,
    run: 2,
    logged: 7,
    work: {
      kind: 'restore',
      steps: [{ source: '档案', kind: 'files', at: 'seq:9', to: '/srv/back' }],
      paths: ['/srv/档案'],
      start: false,
      isInPlace: false,
    },
  },
  { kind: 'task', id, run: 1, logged: 0, work: { kind: 'verify', source: 'shop', at: 'latest' } },
  { kind: 'task-cancel', id, run: 2 },
  {
    kind: 'task-report',
    report: {
      id,
      run: 2,
      state: 'failed',
      first: 3,
      lines: [{ at: 5, line: 'no room' }],
      progress: { files: 1, filesTotal: 2, bytes: 3, bytesTotal: 4, secondsLeft: null, phase: 'writing' },
      error: { code: 'no-space', message: 'full', hint: 'make room' },
      result: { preflight: [{ check: 'room', verdict: 'refused', message: 'none' }], receipt: { files: 1 } },
    },
  },
  { kind: 'limits', limits: [{ from: '08:00', to: '18:00', days: [1, 5], bytesPerSecond: 4096 }] },
]

const plain = (message: Message): unknown =>
  JSON.parse(JSON.stringify(message, (_, value) => (value instanceof Uint8Array ? [...value] : value)))

test('every message survives its way through a frame', async () => {
  for (const message of examples) {
    const [frame] = await framesOf(pieces(Buffer.concat(messageParts(message)), () => 1000))
    const found = readMessage(frame!)
    const bare = (of: Message): unknown => plain('bytes' in of ? { ...of, bytes: Uint8Array.from(of.bytes) } : of)
    assert.equal(found.kind, message.kind)
    if (found.kind !== 'welcome') assert.deepEqual(bare(found), bare(message))
    else assert.deepEqual(Buffer.from(found.journal!.chunkKey), Buffer.alloc(32, 7))
  }
})

test('a source named like an option is no work, and a report beyond its limit is none', () => {
  const task = examples.find(({ kind }) => kind === 'task')
  const text = Buffer.concat(messageParts(task!)).subarray(5).toString('utf8')
  assert.throws(() => readMessage({ type: 39, payload: Buffer.from(text.replace('档案', '--pg-bin=/tmp')) }), Malformed)
  const report = {
    id,
    run: 1,
    state: 'done',
    first: 0,
    lines: [],
    result: { receipt: { long: 'x'.repeat(1024 * 1024) } },
  }
  assert.throws(() => readMessage({ type: 21, payload: Buffer.from(JSON.stringify(report)) }), Malformed)
})

test('bytes that are no message are Malformed, and nothing else', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 50 }), fc.uint8Array({ maxLength: 80 }), (type, payload) => {
      try {
        readMessage({ type, payload: Buffer.from(payload) })
      } catch (error) {
        assert.ok(error instanceof Malformed, String(error))
      }
    }),
    { numRuns: 2000 },
  )
})

test('a message with one byte changed is a message or Malformed', () => {
  const frames = examples.map((message) => Buffer.concat(messageParts(message)))
  fc.assert(
    fc.property(fc.constantFrom(...frames), fc.nat(), fc.integer({ min: 1, max: 255 }), (frame, at, flip) => {
      const payload = Buffer.from(frame.subarray(5))
      if (payload.length > 0) payload[at % payload.length]! ^= flip
      try {
        readMessage({ type: frame[4]!, payload })
      } catch (error) {
        assert.ok(error instanceof Malformed, String(error))
      }
    }),
    { numRuns: 2000 },
  )
})

test('a report longer than the limits is told in its newest part', () => {
  const problems = Array.from({ length: 50 }, (_, index) => ({ code: 'unreadable', message: `${index} `.repeat(9000) }))
  const report = { state: 'live', covered: moment(0), upTo: sequence(0), dirty: 0, watching: 'scan', problems } as const
  const parts = messageParts({ kind: 'report', report, now: moment(0) })
  const found = readMessage({ type: 19, payload: Buffer.from(parts[1]!) })
  assert.ok(found.kind === 'report' && found.report.problems.at(-1)!.message.startsWith('49 '))
})
