import assert from 'node:assert/strict'
import { test } from 'node:test'
import { write } from '../../../test/support/vault-world.ts'
import { moment } from '../../model/moment.ts'
import { type Sequence, sequence } from '../../model/sequence.ts'
import type { JournalReader, StoredBatch } from '../reader.ts'
import { RecentBatches, recentBatchesBytesMax } from './recent-batches.ts'

const mebibyte = 1024 * 1024

/** Two changes from `first` on, with so many bytes of data in them. */
function batch(first: number, bytes: number): StoredBatch {
  const changes = [0, 1].map((index) => ({
    moment: moment(1),
    change: write('f', index, Buffer.alloc(bytes / 2)),
  }))
  return {
    batch: { first: sequence(first), settled: true, cursor: new Uint8Array(), changes },
    received: moment(1),
  }
}

/** Only told apart. */
const journal = (): JournalReader => ({}) as JournalReader
const at = (value: number): Sequence => sequence(value)

test('a batch is found by any change in it, in its own journal', () => {
  const [one, other] = [journal(), journal()]
  const batches = new RecentBatches()
  const kept = batch(5, 10)
  batches.keep(one, kept)
  assert.equal(batches.find(one, at(5)), kept)
  assert.equal(batches.find(one, at(6)), kept)
  assert.equal(batches.find(one, at(4)), undefined)
  assert.equal(batches.find(one, at(7)), undefined)
  assert.equal(batches.find(other, at(5)), undefined)
})

test('what is kept is bounded by bytes, however many sources are looked at', () => {
  const batches = new RecentBatches()
  for (let source = 0; source < 100; source++) {
    const of = journal()
    for (let first = 1; first < 20; first += 2) {
      batches.keep(of, batch(first, 3 * mebibyte))
      assert.ok(batches.bytes <= recentBatchesBytesMax)
    }
  }
  assert.ok(batches.bytes > recentBatchesBytesMax / 2)
})

test('of small batches no more are kept than can be looked through', () => {
  const batches = new RecentBatches()
  const one = journal()
  for (let first = 1; first < 20_001; first += 2) batches.keep(one, batch(first, 2))
  const found = Array.from({ length: 20_000 }, (_, index) => batches.find(one, at(index + 1))).filter(Boolean)
  assert.ok(found.length > 64 && found.length <= 2 * 64, `${found.length}`)
})

test('what was used last stays longest, and one that is larger than all room is kept alone', () => {
  const batches = new RecentBatches(4 * mebibyte)
  const one = journal()
  for (const first of [1, 3, 5]) batches.keep(one, batch(first, mebibyte))
  assert.ok(batches.find(one, at(1)))
  for (const first of [7, 9]) batches.keep(one, batch(first, mebibyte))
  assert.ok(batches.find(one, at(1)))
  assert.equal(batches.find(one, at(3)), undefined)
  batches.keep(one, batch(11, 8 * mebibyte))
  assert.ok(batches.find(one, at(11)))
  assert.equal(batches.find(one, at(1)), undefined)
})
