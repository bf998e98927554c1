import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCode } from '../base/errors.ts'
import { moment } from '../model/moment.ts'
import type { Id } from '../model/source.ts'
import { HeldPoints, heldMs } from './held-points.ts'

const source = 'a'.repeat(32) as Id
const other = 'b'.repeat(32) as Id

class SetClock {
  ms = 0

  now(): number {
    return this.ms * 1000
  }

  monotonicMs(): number {
    return this.ms
  }

  sleep(): Promise<void> {
    return Promise.resolve()
  }
}

test('a point is held until its holder has been silent for a while, and the earliest of them counts', () => {
  const clock = new SetClock()
  const held = new HeldPoints(clock)
  assert.equal(held.earliest(source), undefined)
  assert.equal(held.hold(source, 'one', moment(500)), true)
  assert.equal(held.hold(source, 'two', moment(300)), true)
  assert.equal(held.hold(other, 'one', moment(100)), true)
  assert.equal(held.earliest(source), 300)
  clock.ms = heldMs - 1
  assert.equal(held.hold(source, 'one', moment(500)), false)
  assert.equal(held.earliest(source), 300)
  clock.ms = heldMs
  assert.equal(held.earliest(source), 500)
  assert.equal(held.earliest(other), undefined)
  clock.ms = 2 * heldMs
  assert.equal(held.earliest(source), undefined)
})

test('no more points are held than fit, and those that are held can be held on', () => {
  const held = new HeldPoints(new SetClock())
  const limit = (error: unknown): boolean => isCode(error, 'in-use')
  let count = 0
  assert.throws(() => {
    for (; count < 100_000; count++) held.hold(source, String(count), moment(1000 + count))
  }, limit)
  assert.ok(count > 100)
  assert.equal(held.hold(source, '0', moment(1000)), false)
})
