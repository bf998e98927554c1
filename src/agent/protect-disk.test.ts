import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expectOneLine, inWorld } from '../../test/support/agent-world.ts'
import type { Store } from '../store/store.ts'

test('what is captured without a line is kept on disk, survives a kill, and arrives in order', (test) =>
  inWorld(test, 1, async (world) => {
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.capture.write()
    await world.settled()
    world.lineDown()
    for (let count = 0; count < 50; count++) world.capture.write(false, [world.random.bytes(1000)])
    await world.until(() => world.capture.unasked === 0, 'all is taken')
    await world.vaultClock.sleep(1000)
    assert.ok(world.disk.usedBytes > 50_000)
    world.kill()
    const stop = new AbortController()
    const { protection, ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 2, 'the capture goes on without a line')
    assert.equal(world.capture.request.resumeAt, 51)
    assert.equal(protection.status().line, 'down')
    world.capture.write()
    world.isUp = true
    await world.settled()
    assert.deepEqual(world.capture.holes, [])
    assert.equal(world.journal.durable, 52)
    await world.until(() => protection.status().spoolBytes === 0, 'the spool is deleted')
    stop.abort()
    await ended
    expectOneLine(world)
  }))

test('the capture forgets nothing before it is noted on disk that the vault has it', (test) =>
  inWorld(test, 8, async (world) => {
    world.start(new AbortController().signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    for (let round = 0; round < 6; round++) {
      await world.vaultClock.sleep(round * 900)
      world.capture.write()
      await world.settled()
    }
    await world.vaultClock.sleep(100)
    const told = world.capture.durableAt
    world.isUp = false
    world.kill()
    const stop = new AbortController()
    const { ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 2, 'the capture goes on without a line')
    assert.ok(world.capture.request.resumeAt >= told, `${world.capture.request.resumeAt} after ${told}`)
    stop.abort()
    await ended
  }))

/** A store on which the next new file cannot be made. */
function failingOnce(store: Store): Store {
  let isToFail = true
  return {
    create: (name) => {
      if (!isToFail) return store.create(name)
      isToFail = false
      return Promise.reject(new Error('EIO: i/o error'))
    },
    extend: (name) => store.extend(name),
    read: (name, at, bytes) => store.read(name, at, bytes),
    size: (name) => store.size(name),
    list: (folder) => store.list(folder),
    truncate: (name, bytes) => store.truncate(name, bytes),
    replace: (name, bytes) => store.replace(name, bytes),
    remove: (name) => store.remove(name),
    free: () => store.free(),
    capacity: () => store.capacity(),
  }
}

test('a disk of the spool that fails once ends the protection, which begun again goes on', (test) =>
  inWorld(test, 7, async (world) => {
    world.throughDisk = failingOnce
    const stop = new AbortController()
    const { protection, ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.journal.stalled = true
    for (let count = 0; count < 5; count++) world.capture.write()
    await world.until(() => world.capture.unasked === 0, 'all is taken')
    world.lineDown()
    await assert.rejects(ended, { message: 'EIO: i/o error' })
    world.throughDisk = (store) => store
    world.journal.stalled = false
    world.isUp = true
    const again = protection.run(stop.signal)
    await world.until(() => world.captures.length === 2, 'the capture is opened anew')
    world.capture.write()
    await world.settled()
    stop.abort()
    await again
    expectOneLine(world)
  }))
