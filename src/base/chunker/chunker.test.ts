import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { type ChunkSizes, Chunker } from './chunker.ts'
import { randomBytes } from './deterministic-bytes.ts'

const small: ChunkSizes = { min: 64, average: 256, max: 1024 }
const usual: ChunkSizes = { min: 16 * 1024, average: 64 * 1024, max: 256 * 1024 }
const large: ChunkSizes = { min: 256 * 1024, average: 1024 * 1024, max: 4 * 1024 * 1024 }

test('cut points stay as they were on the first day, or every agent stores its data anew', () => {
  assert.deepEqual(
    cutPoints(usual, randomBytes(1n, 1024 * 1024)),
    [
      80330, 154371, 234290, 269282, 348696, 423931, 490351, 508113, 580066, 645932, 717409, 791051, 866400, 935876,
      1020147, 1048576,
    ],
  )
  assert.deepEqual(
    cutPoints(large, randomBytes(2n, 8 * 1024 * 1024)),
    [2084388, 2669380, 4172682, 5875088, 7048729, 8234721, 8388608],
  )
  assert.deepEqual(
    cutPoints(small, Buffer.from('the quick brown fox jumps over the lazy dog\n'.repeat(100))),
    [1024, 2048, 3072, 4096, 4400],
  )
})

test('cut points are those of the specification, however the content arrives', () => {
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 6000 }),
    // Few different bytes and repeats, as in real files.
    fc
      .array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 60 })), {
        maxLength: 12,
      })
      .map((runs) =>
        Uint8Array.from(runs.flatMap(([bytes, times]) => Array.from({ length: times }, () => [...bytes]).flat())),
      ),
  )
  const sizes = fc.constantFrom(small, { min: 65, average: 512, max: 513 }, { min: 200, average: 256, max: 5000 })
  fc.assert(
    fc.property(content, sizes, fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1 }), (bytes, of, pieces) => {
      assert.deepEqual(cutPoints(of, bytes, pieces), slowCutPoints(of, bytes))
    }),
    { numRuns: 300 },
  )
})

test('the chunks put together are the content', () => {
  const bytes = randomBytes(3n, 3_000_001)
  const hash = createHash('sha256')
  for (const chunk of new Chunker(usual).chunks(reader(bytes, [100_000, 7, 1_000_000]))) hash.update(chunk)
  assert.equal(hash.digest('hex'), createHash('sha256').update(bytes).digest('hex'))
})

test('no decision is made before it is certain', () => {
  const chunker = new Chunker(small)
  chunker.memory.set(randomBytes(4n, 3000))
  assert.equal(chunker.cut(0, small.max - 1, false), -1)
  assert.equal(chunker.cut(0, small.max - 1, true), chunker.cut(0, small.max, false))
  assert.equal(chunker.cut(100, 100, true), 100)
  assert.throws(() => chunker.cut(0, chunker.memory.length + 1, true), /broken invariant/)
})

test('an insertion changes only the chunks around it', () => {
  const before = randomBytes(5n, 16 * 1024 * 1024)
  const middle = before.length / 2 + 12_345
  const after = Buffer.concat([before.subarray(0, middle), Buffer.from('inserted'), before.subarray(middle)])
  const known = new Set(chunkNames(usual, before))
  const names = chunkNames(usual, after)
  const shared = names.filter((name) => known.has(name)).length
  assert.ok(names.length - shared <= 4, `${names.length - shared} of ${names.length} chunks are new`)
  assert.ok(shared / names.length >= 0.9)
})

test('sizes keep within their limits and their mean is what the specification says', () => {
  const bytes = randomBytes(6n, 32 * 1024 * 1024)
  const ends = cutPoints(usual, bytes)
  const sizes = ends.map((end, index) => end - (ends[index - 1] ?? 0))
  assert.ok(sizes.slice(0, -1).every((size) => size >= usual.min && size <= usual.max))
  const mean = bytes.length / sizes.length / usual.average
  assert.ok(mean > 1 && mean < 1.2, `mean ${mean} of average`)
})

test('equal bytes in a row make largest chunks', () => {
  for (let byte = 0; byte < 256; byte++) {
    assert.deepEqual(cutPoints(usual, Buffer.alloc(usual.max + 1, byte)), [usual.max, usual.max + 1])
  }
})

test('sizes the algorithm cannot work with are refused', () => {
  for (const sizes of [
    { min: 63, average: 256, max: 1024 },
    { min: 64, average: 300, max: 1024 },
    { min: 256, average: 256, max: 1024 },
    { min: 64, average: 256, max: 256 },
    { min: 64, average: 128, max: 256 },
    { min: 64.5, average: 256, max: 1024 },
  ]) {
    assert.throws(() => new Chunker(sizes), RangeError)
  }
})

/** Gives `bytes` in pieces of these sizes, over and over. */
function reader(bytes: Uint8Array, pieces: readonly number[]): (into: Uint8Array) => number {
  let at = 0
  let turn = 0
  return (into) => {
    const piece = bytes.subarray(at, at + Math.min(into.length, pieces[turn++ % pieces.length]!))
    into.set(piece)
    at += piece.length
    return piece.length
  }
}

function cutPoints(sizes: ChunkSizes, bytes: Uint8Array, pieces: readonly number[] = [bytes.length || 1]): number[] {
  const points: number[] = []
  for (const chunk of new Chunker(sizes).chunks(reader(bytes, pieces))) points.push((points.at(-1) ?? 0) + chunk.length)
  return points
}

function chunkNames(sizes: ChunkSizes, bytes: Uint8Array): string[] {
  const names: string[] = []
  for (const chunk of new Chunker(sizes).chunks(reader(bytes, [bytes.length]))) {
    names.push(createHash('sha256').update(chunk).digest('hex'))
  }
  return names
}

/** The specification at the head of chunker.ts, word by word. */
function slowCutPoints({ min, average, max }: ChunkSizes, bytes: Uint8Array): number[] {
  const bits = BigInt(Math.log2(average))
  const points: number[] = []
  let start = 0
  for (let at = 0; at < bytes.length; at++) {
    const length = at + 1 - start
    const top = (count: bigint): bigint => hashAt(bytes, at) >> (64n - count)
    const found =
      (length >= average && top(bits - 2n) === 0n) || (length >= min && length < average && top(bits + 2n) === 0n)
    if (length === max || found || at + 1 === bytes.length) points.push((start = at + 1))
  }
  return points
}

function hashAt(bytes: Uint8Array, at: number): bigint {
  let hash = 0n
  for (let from = Math.max(at - 63, 0); from <= at; from++) hash = BigInt.asUintN(64, 2n * hash + gear[bytes[from]!]!)
  return hash
}

// SplitMix64, as its authors published it.
const gear = Array.from({ length: 256 }, (_, index) => {
  const mask = (value: bigint): bigint => BigInt.asUintN(64, value)
  let mixed = mask(0x746964656d61726bn + BigInt(index + 1) * 0x9e3779b97f4a7c15n)
  mixed = mask((mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n)
  mixed = mask((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn)
  return mixed ^ (mixed >> 31n)
})
