import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Seeded } from '../../../../test/sim/random.ts'
import type { RecordNumber } from '../../../format/volume-log.ts'
import { PendingBlocks } from './pending.ts'
import { RangeSet } from './range-set.ts'

test('any changes over any syncs are found byte by byte where they were put last', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new Seeded(seed)
    const bytes = 10 * 4096
    const pending = new PendingBlocks(0 as RecordNumber)
    /** Of each byte: its address in the log, 0 for zeros, -1 for the backing. */
    const model = new Float64Array(bytes).fill(-1)
    let address = 1000
    let isSyncing = false
    for (let step = 0; step < 60; step++) {
      const unit = random.pick([1, 512, 4096])
      const length = random.integer(1, Math.min(bytes / unit, 24)) * unit
      const at = random.integer(0, (bytes - length) / unit) * unit
      const chance = random.fraction()
      if (chance < 0.5) {
        pending.write(at, length, address)
        for (let index = 0; index < length; index++) model[at + index] = address + index
        address += length + random.integer(0, 1) * 100
      } else if (chance < 0.7) {
        pending.zero(at, length)
        model.fill(0, at, at + length)
      } else if (isSyncing) {
        pending.syncEnds(1 as RecordNumber)
        isSyncing = false
      } else {
        pending.syncBegins()
        isSyncing = true
      }
      let position = at
      for (const span of pending.spans(at, length)) {
        assert.equal(span.at, position)
        for (let index = 0; index < span.bytes; index++) {
          const found = span.from === 'backing' ? -1 : span.from === 'zeros' ? 0 : span.from + index
          assert.equal(found, model[span.at + index], `seed ${seed}, step ${step}, byte ${span.at + index}`)
        }
        position += span.bytes
      }
      assert.equal(position, at + length)
    }
  }
})

test('a range of terabytes of zeros takes no more memory than a small one', () => {
  const pending = new PendingBlocks(0 as RecordNumber)
  pending.zero(1000, 2 ** 42)
  assert.ok(pending.weight <= 3)
  assert.deepEqual(pending.spans(2 ** 41, 8192), [{ at: 2 ** 41, bytes: 8192, from: 'zeros' }])
})

test('a set of ranges is the set of its numbers', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Seeded(seed)
    const ranges = new RangeSet()
    const model = new Set<number>()
    for (let step = 0; step < 40; step++) {
      const start = random.integer(0, 60)
      const end = start + random.integer(0, 12)
      const adds = random.chance(0.6)
      if (adds) ranges.add(start, end)
      else ranges.remove(start, end)
      for (let value = start; value < end; value++) void (adds ? model.add(value) : model.delete(value))
      for (let value = 0; value < 80; value++) assert.equal(ranges.has(value), model.has(value))
      for (const [index, range] of ranges.ranges.entries()) {
        assert.ok(range.start < range.end && (index === 0 || ranges.ranges[index - 1]!.end < range.start))
      }
    }
  }
})
