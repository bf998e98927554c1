import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MessageChannel } from 'node:worker_threads'
import { isCode, TidemarkError } from '../../base/errors.ts'
import { Calls, owned, single } from './calls.ts'

/** Both ends in one thread: what crosses is cloned or moved all the same. */
function pair() {
  const { port1, port2 } = new MessageChannel()
  const seen = { produced: 0, cancelled: false }
  const answers = {
    count: async function* (upTo: number, signal: AbortSignal) {
      try {
        for (let value = 1; value <= upTo; value++) {
          signal.throwIfAborted()
          seen.produced = value
          yield value
          await new Promise(setImmediate)
        }
      } finally {
        seen.cancelled = seen.produced < upTo
      }
    },
    fail: (message: string) =>
      single(Promise.reject<number>(new TidemarkError('damaged', { message, hint: 'mend it' }))),
    bytes: (count: number) => owned(single(Buffer.from('x'.repeat(count)))),
  }
  const served = new Calls(port2, answers)
  const calls = new Calls<typeof answers>(port1)
  const close = (): void => {
    port1.close()
    port2.close()
  }
  return { calls, served, seen, close }
}

test('a call is answered by a stream that waits for its consumer', async () => {
  const { calls, seen, close } = pair()
  const values: number[] = []
  for await (const value of calls.stream('count', 40)) {
    values.push(value)
    await new Promise((resolve) => setTimeout(resolve, 1))
    assert.ok(seen.produced <= value + 7, `${seen.produced} made where ${value} were taken`)
  }
  assert.deepEqual(
    values,
    Array.from({ length: 40 }, (_, index) => index + 1),
  )
  assert.equal((await calls.one('bytes', 5)).length, 5)
  close()
})

test('leaving a stream, or its signal, cancels the call at the other side', async () => {
  const { calls, seen, close } = pair()
  for await (const value of calls.stream('count', 1000)) if (value === 3) break
  const stop = new AbortController()
  const reason = new Error('enough')
  await assert.rejects(async () => {
    for await (const value of calls.stream('count', 1000, stop.signal)) if (value === 2) stop.abort(reason)
  }, reason)
  while (!seen.cancelled) await new Promise(setImmediate)
  assert.equal(calls.underWay, 0)
  close()
})

test('errors cross with code, message and hint, and a lost thread ends all calls', async () => {
  const { calls, close } = pair()
  await assert.rejects(calls.one('fail', 'bad bytes'), (error: unknown) => {
    return isCode(error, 'damaged') && error.message === 'bad bytes' && error.hint === 'mend it'
  })
  const gone = new TidemarkError('interrupted', { message: 'the thread ended' })
  const pending = calls.one('count', 1_000_000)
  calls.lost(gone)
  await assert.rejects(pending, gone)
  await assert.rejects(calls.one('count', 1), gone)
  close()
})
