import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type AgentWorld, expectOneLine, inWorld } from '../../test/support/agent-world.ts'
import type { Moment } from '../model/moment.ts'
import { sequence } from '../model/sequence.ts'

test('an agent killed without a line and without a spool does not fork the journal, and the hole is recorded', (test) =>
  inWorld(test, 2, async (world) => {
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.capture.write()
    await world.settled()
    await world.vaultClock.sleep(11_000)
    for (let count = 0; count < 5; count++) world.capture.write()
    await world.settled()
    world.isUp = false
    world.kill()
    const stop = new AbortController()
    const { ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 2, 'the capture goes on from what was noted')
    assert.ok(world.capture.request.resumeAt < 6, 'the note is older than what the vault has')
    for (let count = 0; count < 9; count++) world.capture.write()
    await world.vaultClock.sleep(1000)
    world.isUp = true
    await world.until(() => world.captures.length === 3, 'the capture is opened anew')
    assert.equal(world.capture.request.resumeAt, 6)
    assert.equal(world.capture.holes.length, 1)
    world.capture.write()
    await world.settled()
    stop.abort()
    await ended
    expectOneLine(world)
  }))

test('with the spool full the capture is not asked for more, and told of the hole when there is room', (test) =>
  inWorld(test, 3, async (world) => {
    world.limits = { spoolBytesMax: 20_000, memoryBytesMax: 10_000 }
    const stop = new AbortController()
    const { protection, ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.lineDown()
    for (let count = 0; count < 100; count++) world.capture.write(false, [world.random.bytes(1000)])
    await world.vaultClock.sleep(20_000)
    assert.ok(world.capture.unasked > 50 && protection.status().spoolFull)
    assert.ok(world.disk.usedBytes <= 21_000)
    const stoppedAt = world.capture.taken.at(-1)!.moment
    world.isUp = true
    await world.settled()
    assert.deepEqual(world.capture.holes, [{ since: stoppedAt, reason: 'the spool was full' }])
    assert.equal(world.journal.durable, 101, 'all changes and the mark of the hole')
    assert.equal(protection.status().spoolFull, false)
    stop.abort()
    await ended
  }))

test('a vault that was brought back from an older copy gets a hole and goes on', (test) =>
  inWorld(test, 4, async (world) => {
    const stop = new AbortController()
    const { ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    for (let count = 0; count < 5; count++) {
      world.capture.write()
      await world.settled()
    }
    world.isUp = false
    world.cut()
    world.journal.applied.length = 3
    world.journal.durable = sequence(3)
    world.journal.cursor = Buffer.from(world.journal.applied[2]!.cursor)
    world.isUp = true
    await world.until(() => world.captures.length === 2, 'the capture is opened anew')
    assert.equal(world.capture.request.resumeAt, 3)
    assert.equal(world.capture.holes.length, 1)
    assert.equal(world.capture.holes[0]!.since, world.captures[0]!.taken[2]!.moment, 'since the copy was made')
    world.capture.write()
    await world.settled()
    stop.abort()
    await ended
    expectOneLine(world)
  }))

/** Until a capture is open that was told of a hole, and has said nothing since. */
async function untilHole(world: AgentWorld, captures: number): Promise<Moment> {
  await world.until(() => world.captures.length === captures && world.capture.holes.length === 1, 'a hole is told')
  return world.capture.holes[0]!.since
}

test('a hole survives a kill until the vault has its mark, and then is told no more', (test) =>
  inWorld(test, 9, async (world) => {
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    for (let count = 0; count < 5; count++) world.capture.write()
    await world.settled()
    world.isUp = false
    world.cut()
    world.journal.durable = sequence(3)
    world.journal.cursor = Buffer.from(world.journal.applied[2]!.cursor)
    world.journal.applied.length = 3
    world.isUp = true
    const since = await untilHole(world, 2)
    world.kill()
    world.start(new AbortController().signal)
    assert.ok((await untilHole(world, 3)) <= since)
    world.lineDown()
    world.capture.write()
    await world.vaultClock.sleep(11_000)
    world.kill()
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 4, 'the capture goes on without a line')
    assert.deepEqual(world.capture.holes, [], 'its mark is in the spool')
    world.isUp = true
    world.capture.write()
    await world.settled()
    await world.vaultClock.sleep(11_000)
    world.kill()
    const stop = new AbortController()
    const { ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 5, 'the capture')
    assert.deepEqual(world.capture.holes, [])
    assert.ok(!world.disk.names.includes('holes.json'))
    stop.abort()
    await ended
    expectOneLine(world)
  }))

for (const [isWriting, what] of [
  [false, 'is no hole while nothing was taken'],
  [true, 'is a hole once something was taken'],
] as const) {
  test(`a start without a line, from before what the vault has, ${what}`, (test) =>
    inWorld(test, 12, async (world) => {
      world.start(new AbortController().signal)
      await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
      world.capture.write()
      await world.settled()
      await world.vaultClock.sleep(11_000)
      for (let count = 0; count < 5; count++) world.capture.write()
      await world.until(() => world.journal.durable === 6, 'all at the vault, and not noted yet')
      world.isUp = false
      world.kill()
      world.start(new AbortController().signal)
      await world.until(() => world.captures.length === 2, 'the capture goes on without a line')
      if (isWriting) world.capture.write()
      await world.vaultClock.sleep(1000)
      world.isUp = true
      await world.until(() => world.captures.length === 3, 'it is opened anew, after what the vault has')
      world.capture.write()
      await world.settled()
      assert.equal(world.capture.holes.length, isWriting ? 1 : 0)
      expectOneLine(world)
    }))
}

test('a damaged spool is a hole that survives a kill right after the damage was found', (test) =>
  inWorld(test, 10, async (world) => {
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.lineDown()
    for (let count = 0; count < 5; count++) world.capture.write(false, [world.random.bytes(1000)])
    await world.vaultClock.sleep(1000)
    world.kill()
    const name = world.disk.names.find((one) => one.endsWith('.spool'))!
    const bytes = world.disk.contents(name)
    bytes[3]! ^= 1
    for (let operations = 1; operations < 12; operations++) {
      world.disk.overwrite(name, bytes)
      world.disk.delete('holes.json')
      world.start(new AbortController().signal)
      const killed = new Promise<void>((resolve) => world.disk.endAfter(operations, 'process', resolve))
      await Promise.race([killed, world.vaultClock.sleep(3000)])
      world.kill()
      world.disk.endAfter(Number.MAX_SAFE_INTEGER, 'process', () => undefined)
      const isGivenUp = !world.disk.names.includes(name)
      if (isGivenUp) break
    }
    const stop = new AbortController()
    const { ended } = world.start(stop.signal)
    await world.until(() => (world.captures.at(-1)?.holes.length ?? 0) > 0, 'the hole is told')
    stop.abort()
    await ended
  }))
