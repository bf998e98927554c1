import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expectOneLine, inWorld } from '../../test/support/agent-world.ts'
import { moment } from '../model/moment.ts'
import { sequence } from '../model/sequence.ts'

test('whatever happens to line and agent, the journal is one line and ends complete', async (test) => {
  for (let seed = 1; seed <= 40; seed++) {
    await inWorld(test, seed, async (world) => {
      const { random } = world
      let stop = new AbortController()
      let agent = world.start(stop.signal)
      for (let step = 0; step < 40; step++) {
        const capture = world.captures.at(-1)
        for (let count = random.integer(0, 6); count > 0; count--) {
          const blocks = Array.from({ length: random.integer(0, 2) }, () => random.bytes(random.integer(1, 2000)))
          if (capture && !capture.isDisposed) capture.write(random.chance(0.3), blocks)
        }
        await world.vaultClock.sleep(random.pick([0, 1, 10, 300, 8000]))
        switch (random.integer(0, 9)) {
          case 0:
            world.lineDown()
            break
          case 1:
          case 2:
            world.isUp = true
            break
          case 3:
            world.cut()
            break
          case 4:
            world.kill()
            stop = new AbortController()
            agent = world.start(stop.signal)
            break
          case 5:
            stop.abort()
            await agent.ended
            stop = new AbortController()
            agent = world.start(stop.signal)
            break
          default:
            break
        }
      }
      world.isUp = true
      await world.until(() => world.isCapturing, 'a line')
      world.capture.write()
      await world.settled()
      stop.abort()
      await agent.ended
      expectOneLine(world)
    })
  }
})

test('offers, marks, reports and manifests find their way', (test) =>
  inWorld(test, 5, async (world) => {
    const stop = new AbortController()
    const { protection, ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    const { capture, journal } = world
    capture.say({ kind: 'offer', tag: 1, ids: ['1'.repeat(32) as never] })
    capture.say({
      kind: 'report',
      report: { state: 'live', covered: moment(7), upTo: sequence(0), dirty: 3, watching: 'scan', problems: [] },
    })
    journal.requests.push({ kind: 'mark', tag: 77, label: 'before' })
    journal.requests.push({ kind: 'reconcile' })
    journal.changed.wake()
    await world.until(
      () =>
        capture.answers.size === 1 &&
        journal.marks.length === 1 &&
        capture.reconciled === 1 &&
        journal.reports.length > 0,
      'all is answered',
    )
    assert.deepEqual(journal.marks, [{ tag: 77, sequence: 1 }])
    assert.equal(journal.reports.at(-1)!.report.dirty, 3)
    assert.equal(protection.status().capture?.dirty, 3)
    capture.say({ kind: 'manifest-wanted', reason: 'test' })
    await world.until(() => capture.manifestAt === 1, 'the manifest')
    world.lineDown()
    await world.vaultClock.sleep(100)
    capture.say({ kind: 'offer', tag: 2, ids: ['2'.repeat(32) as never, '3'.repeat(32) as never] })
    await world.until(() => capture.answers.size === 2, 'an answer without a line')
    assert.deepEqual(capture.answers.get(2), [true, true])
    stop.abort()
    await ended
  }))

test('bulk is taken no faster than the vault acknowledges it', (test) =>
  inWorld(test, 6, async (world) => {
    const stop = new AbortController()
    const { protection, ended } = world.start(stop.signal)
    await world.until(() => world.captures.length === 1 && world.capture.isLineUp, 'a line')
    world.journal.stalled = true
    for (let count = 0; count < 40; count++) world.capture.write(true, [Buffer.alloc(1024 * 1024, count)])
    await world.vaultClock.sleep(10_000)
    assert.ok(world.capture.unasked > 25, `${world.capture.unasked} not asked for`)
    assert.equal(protection.status().line, 'stalled')
    assert.equal(world.disk.usedBytes < 1000, true, 'bulk does not go to the disk while the line is up')
    world.journal.stalled = false
    await world.settled()
    assert.deepEqual(world.capture.holes, [])
    stop.abort()
    await ended
  }))
