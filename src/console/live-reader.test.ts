import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Alarm, LiveEvent } from '../api/console.ts'
import { heartbeatMs } from '../api/events.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { systemRandom } from '../base/random.ts'
import { HeldClock } from '../../test/support/held-clock.ts'
import { Database } from './database.ts'
import { Federation } from './federation.ts'
import { Live } from './live.ts'
import { readLive } from './live-reader.ts'
import { VaultTable } from './vault-table.ts'

async function reading<T extends Clock>(context: TestContext, clock: T) {
  const database = new Database(':memory:')
  const live = new Live()
  const table = new VaultTable(database, '/nowhere')
  const parts = { table, clock: systemClock, random: systemRandom, tell: () => undefined }
  const federation = await Federation.open(live, parts)
  const stop = new AbortController()
  const events = readLive({ live, federation, clock }, stop.signal)
  context.after(async () => {
    stop.abort(new Error('the test is over'))
    await events.return(undefined)
    database[Symbol.dispose]()
  })
  const next = async (): Promise<LiveEvent> => {
    const { value, done } = await events.next()
    assert.ok(done !== true)
    return value
  }
  return { live, next }
}

const alarm = (id: number, message: string): LiveEvent => ({
  kind: 'alarm',
  alarm: { id: String(id), message } as Alarm,
})
const told = (vault: string, event: Extract<LiveEvent, { kind: 'vault' }>['event']): LiveEvent => ({
  kind: 'vault',
  vault,
  event,
})

test('a reader that was slow gets the newest of each thing, in the order of their newest change', async (context) => {
  const clock = new HeldClock()
  const { live, next } = await reading(context, clock)
  assert.equal((await next()).kind, 'hello')
  const following = next()
  for (let round = 0; round < 1_000; round++) {
    for (const id of [1, 2, 3]) live.tell(alarm(id, `round ${round}`))
  }
  live.tell(alarm(1, 'last'))
  await clock.letGo()
  const all = [await following, await next(), await next()]
  assert.deepEqual(
    all.map((event) => event.kind === 'alarm' && [event.alarm.id, event.alarm.message]),
    [
      ['2', 'round 999'],
      ['3', 'round 999'],
      ['1', 'last'],
    ],
  )
})

test('what a vault tells of everything replaces what waited of its parts, and of no other vault', async (context) => {
  const clock = new HeldClock()
  const { live, next } = await reading(context, clock)
  await next()
  const following = next()
  live.tell(told('a', { kind: 'task', id: 't' }))
  live.tell(told('b', { kind: 'task', id: 't' }))
  live.tell(told('a', { kind: 'source-gone', id: 's' }))
  live.tell(told('a', { kind: 'vault', vault: { name: 'whole' } as never }))
  await clock.letGo()
  const all = [await following, await next()]
  assert.deepEqual(
    all.map((event) => event.kind === 'vault' && [event.vault, event.event.kind]),
    [
      ['b', 'task'],
      ['a', 'vault'],
    ],
  )
})

test('a reader for whom too much waits is told everything anew', async (context) => {
  const clock = new HeldClock()
  const { live, next } = await reading(context, clock)
  await next()
  const following = next()
  for (let id = 0; id < 30_000; id++) live.tell(alarm(id, 'one of very many'))
  await clock.letGo()
  assert.equal((await following).kind, 'hello')
})

test('a reader hears after five seconds that nothing happens', async (context) => {
  const clock = new HastyClock()
  const { next } = await reading(context, clock)
  await next()
  const began = clock.monotonicMs()
  assert.equal((await next()).kind, 'heartbeat')
  const waited = clock.monotonicMs() - began
  assert.ok(waited >= heartbeatMs && waited < heartbeatMs + 1_000, `${waited} ms`)
})

/** Whoever sleeps has slept, by the time that it tells. */
class HastyClock implements Clock {
  #ms = 0
  readonly now = systemClock.now
  readonly monotonicMs = (): number => this.#ms
  readonly sleep = async (ms: number, signal?: AbortSignal): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve))
    signal?.throwIfAborted()
    this.#ms += ms
  }
}
