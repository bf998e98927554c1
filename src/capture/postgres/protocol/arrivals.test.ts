import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Arrivals } from './arrivals.ts'
import { readBytesMax } from './socket.ts'

/** A read brings bytes and events, in parts; a take asks for one. */
const step = fc.oneof(
  fc.record({
    kind: fc.constant('read' as const),
    parts: fc.array(fc.oneof(fc.constant('event' as const), fc.integer({ min: 1, max: readBytesMax / 4 })), {
      maxLength: 4,
    }),
  }),
  fc.record({ kind: fc.constant('take' as const) }),
)

test('everything comes out once, in order, and reading pauses before the room is gone', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      let isPaused = false
      const arrivals = new Arrivals<'event'>(2 * readBytesMax, {
        pause: () => {
          isPaused = true
        },
        resume: () => {
          isPaused = false
        },
      })
      const source = Buffer.alloc(readBytesMax)
      const sent: (number | 'event')[] = []
      const taken: (number | 'event')[] = []
      let next = 0
      let waiting = 0
      const take = async (): Promise<void> => {
        const arrival = await arrivals.take()
        if (arrival?.kind === 'event') taken.push('event')
        else if (arrival) taken.push(...marksIn(arrival.bytes))
        waiting = sent.length - taken.length
      }
      for (const { kind, parts } of steps.map((one) => ({ parts: [], ...one }))) {
        if (kind === 'take' && waiting > 0) await take()
        if (kind === 'take' || isPaused) continue
        for (const part of parts) {
          if (part === 'event') arrivals.event('event')
          else {
            source.fill(0, 0, part)
            // Each stretch begins with a number that is not zero, so that its order can be seen.
            source[0] = 1 + (next % 255)
            arrivals.bytes(source, 0, part)
          }
          sent.push(part === 'event' ? 'event' : 1 + (next++ % 255))
          waiting++
        }
      }
      arrivals.end({ error: new Error('the end') })
      while (taken.length < sent.length) await take()
      assert.deepEqual(taken, sent)
      await assert.rejects(take(), /the end/)
    }),
    { numRuns: 60 },
  )
})

const marksIn = (bytes: Buffer): number[] =>
  bytes
    .filter((byte) => byte !== 0)
    .values()
    .toArray()

test('bytes hold until the next take, whatever arrives meanwhile', async () => {
  const pauses: true[] = []
  const arrivals = new Arrivals<never>(2 * readBytesMax, { pause: () => void pauses.push(true), resume: () => {} })
  const source = Buffer.alloc(readBytesMax, 1)
  arrivals.bytes(source, 0, readBytesMax)
  const first = await arrivals.take()
  source.fill(2)
  while (pauses.length === 0) arrivals.bytes(source, 0, readBytesMax)
  assert.ok(first?.kind === 'bytes' && first.bytes.every((byte) => byte === 1))
  const second = await arrivals.take()
  assert.ok(second?.kind === 'bytes' && second.bytes.length === 2 * readBytesMax)
})

test('a take that waits is woken by bytes, and by the end', async () => {
  const arrivals = new Arrivals<never>(2 * readBytesMax, { pause: () => {}, resume: () => {} })
  const waiting = arrivals.take()
  arrivals.bytes(Buffer.from('abc'), 1, 3)
  const arrival = await waiting
  assert.ok(arrival?.kind === 'bytes' && String(arrival.bytes) === 'bc')
  const last = arrivals.take()
  arrivals.end()
  assert.equal(await last, undefined)
})
