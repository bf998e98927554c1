import assert from 'node:assert/strict'
import { createCipheriv, createSecretKey } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { batch, bytes, change, chunkId, mangled, record } from '../../test/support/arbitrary.ts'
import { collect } from '../../test/support/vault-world.ts'
import { Seeded } from '../../test/sim/random.ts'
import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import { moment } from '../model/moment.ts'
import { treePath } from '../model/path.ts'
import { sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { decodeBatch, encodeBatch } from './batch.ts'
import { decodeBlock, encodeBlock } from './block.ts'
import { readChange, writeChange } from './change.ts'
import { decodeCheckpointHead, decodeGroup, encodeCheckpointHead, encodeGroups } from './checkpoint.ts'
import { compressBody, decompressBody } from './compression.ts'
import { fileKey } from './keys.ts'
import { decodeManifest, encodeManifest } from './manifest.ts'
import {
  claimPayload,
  decodePackIndex,
  encodePackIndex,
  groupEntries,
  type PackEntry,
  readClaimPayload,
} from './pack.ts'
import { decodeRecord, encodeRecord } from './registry-record.ts'
import {
  decodeFrame,
  decodeHeader,
  decodeSeal,
  encodeFrame,
  encodeHeader,
  encodeSeal,
  headerBytes,
  type SealedHeader,
  UnknownVersion,
} from './sealed-file.ts'
import { batchPayload, readBatchPayload } from './segment.ts'

const key = createSecretKey(Buffer.alloc(32, 5))
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((raw) => Buffer.from(raw))
const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((raw) => Buffer.from(raw).toString('hex') as Id)
const place = fc.integer({ min: 0, max: 2 ** 50 })

const stored = (body: Uint8Array): Buffer => {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(body.length, 1)
  return Buffer.concat([head, body])
}

const encodedChange = change.map((one) => {
  const writer = new ByteWriter()
  writeChange(writer, one)
  return writer.finish()
})

/** Not compressed, so that what is changed reaches the decoder and not only the decompressor. */
const storedBatch = batch.map((one) => stored(decompressBody(encodeBatch(one), 2 ** 30)))

const chunks = fc.array(record({ id: chunkId, data: fc.uint8Array({ minLength: 1, maxLength: 2000 }) }), {
  minLength: 1,
  maxLength: 10,
})

const entry: fc.Arbitrary<PackEntry> = record({
  frameAt: place,
  frameBytes: fc.nat(),
  holder: fc.nat(0xffff_ffff),
}).chain((frame) =>
  fc.oneof(
    fc
      .array(record({ id: chunkId, bytes: fc.integer({ min: 1, max: 100_000 }) }), { minLength: 1, maxLength: 8 })
      .map((packed): PackEntry => ({ kind: 'block', ...frame, chunks: packed })),
    fc.array(chunkId, { minLength: 1, maxLength: 8 }).map((ids): PackEntry => ({ kind: 'claim', ...frame, ids })),
  ),
)

const header: fc.Arbitrary<SealedHeader> = record({
  kind: fc.constantFrom('segment', 'pack', 'checkpoint', 'spool'),
  file: id,
  owner: id,
  number: place,
  first: place.map(sequence),
  before: hash,
})

test('a change is the same again', () => {
  fc.assert(
    fc.property(change, (one) => {
      const writer = new ByteWriter()
      writeChange(writer, one)
      const reader = new ByteReader(writer.finish())
      assert.deepEqual(readChange(reader), one)
      assert.equal(reader.remaining, 0)
    }),
    { numRuns: 500 },
  )
})

test('a batch is the same again, also as it stands in a segment', () => {
  fc.assert(
    fc.property(batch, place, (one, received) => {
      const encoded = encodeBatch(one)
      assert.deepEqual(decodeBatch(encoded), one)
      const again = readBatchPayload(Buffer.concat(batchPayload(moment(received), encoded)))
      assert.deepEqual(again, { batch: one, received })
    }),
    { numRuns: 300 },
  )
})

test('a block is the same again', () => {
  fc.assert(
    fc.property(chunks, (all) => {
      const { entries, body } = decodeBlock(encodeBlock(all))
      const again = entries.map((one) => ({
        id: one.id,
        data: new Uint8Array(body.subarray(one.at, one.at + one.bytes)),
      }))
      assert.deepEqual(again, all)
    }),
  )
})

test('a manifest is the same again, in pieces of any size', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 30 }), fc.integer({ min: 1, max: 5000 }), async (all, size) => {
      const whole = Buffer.concat(await collect(encodeManifest(all)))
      const pieces = Array.from({ length: Math.ceil(whole.length / size) }, (_, index) =>
        whole.subarray(index * size, (index + 1) * size),
      )
      assert.deepEqual((await collect(decodeManifest(pieces))).flat(), all)
      const groups = await collect(encodeGroups(all))
      assert.deepEqual(groups.flatMap(decodeGroup), all)
    }),
  )
})

test('what a pack holds is the same again', () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 20 }), place, (all, before) => {
      assert.deepEqual(decodePackIndex(encodePackIndex(before, all)), { before, entries: all })
    }),
  )
  fc.assert(
    fc.property(fc.nat(0xffff_ffff), fc.array(chunkId, { minLength: 1, maxLength: 20 }), (holder, ids) => {
      assert.deepEqual(readClaimPayload(claimPayload(holder, ids)), { holder, ids })
    }),
  )
})

test('an index of a pack too large for one frame is told in several', () => {
  const many = Array.from({ length: 400 }, (_, index): PackEntry => {
    const packed = Array.from({ length: 500 }, () => ({ id: 'x'.repeat(32) as never, bytes: 1 }))
    return { kind: 'block', frameAt: index, frameBytes: 1, holder: 1, chunks: packed }
  })
  const groups = groupEntries(many)
  assert.ok(groups.length > 5)
  assert.deepEqual(groups.flat(), many)
  for (const group of groups) assert.ok(encodePackIndex(0, group).length <= 1024 * 1024)
})

test('header, frames and seal of a sealed file are the same again', () => {
  fc.assert(
    fc.property(header, (told) => {
      const encoded = encodeHeader(told, fileKey(key, told.file))
      assert.equal(encoded.length, headerBytes)
      assert.deepEqual(decodeHeader(encoded, key).header, told)
    }),
  )
  const types = fc.constantFrom('batch', 'block', 'pack-index', 'seal', 'manifest-group', 'claim', 'checkpoint-head')
  const head = record({ type: types, ordinal: fc.nat(0xffff_ffff), durable: place })
  fc.assert(
    fc.property(head, fc.array(bytes(), { maxLength: 3 }), (told, payload) => {
      const frame = Buffer.concat(encodeFrame(told, payload, key))
      assert.deepEqual(decodeFrame(frame, key), { ...told, payload: Buffer.concat(payload) })
    }),
  )
  const seal = record({ frames: place, bytes: place, last: place.map(sequence), lastFrameAt: place, hash })
  fc.assert(fc.property(seal, (told) => assert.deepEqual(decodeSeal(encodeSeal(told)), told)))
})

test('a changed bit of a sealed file is never authentic', () => {
  const good = header.map((told) => ({ told, encoded: encodeHeader(told, fileKey(key, told.file)) }))
  fc.assert(
    fc.property(good, fc.nat(headerBytes * 8 - 1), ({ encoded }, bit) => {
      encoded[bit >> 3]! ^= 1 << (bit & 7)
      assert.throws(() => decodeHeader(encoded, key), Malformed)
    }),
  )
  fc.assert(
    fc.property(bytes(200), fc.nat(), (payload, where) => {
      const frame = Buffer.concat(encodeFrame({ type: 'batch', ordinal: 3, durable: 9 }, [payload], key))
      const bit = where % (frame.length * 8)
      frame[bit >> 3]! ^= 1 << (bit & 7)
      assert.throws(() => decodeFrame(frame, key), Malformed)
    }),
  )
})

test('a later version of a sealed file is told from a damaged one', () => {
  const told: SealedHeader = {
    kind: 'segment',
    file: 'ab'.repeat(16) as Id,
    owner: 'cd'.repeat(16) as Id,
    number: 1,
    first: sequence(1),
    before: Buffer.alloc(32),
  }
  const own = fileKey(key, told.file)
  const encoded = encodeHeader(told, own)
  encoded.writeUInt16BE(2, 8)
  assert.throws(() => decodeHeader(encoded, key), Malformed)
  const resealed = Buffer.concat([encoded.subarray(0, 112), tagOver(encoded.subarray(0, 112))])
  assert.throws(() => decodeHeader(resealed, key), UnknownVersion)

  function tagOver(authenticated: Buffer): Buffer {
    const frameLike = Buffer.alloc(12)
    frameLike.writeUInt32BE(2)
    const cipher = createCipheriv('aes-256-gcm', own, frameLike).setAAD(authenticated)
    cipher.final()
    return cipher.getAuthTag()
  }
})

test('a record is the same again, and not under another name or key', () => {
  const random = new Seeded(1)
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.parse(JSON.stringify(value)) as unknown
      const encoded = encodeRecord('agents/1', text, key, random)
      assert.deepEqual(decodeRecord('agents/1', encoded, key), text)
      assert.throws(() => decodeRecord('agents/2', encoded, key), Malformed)
      assert.throws(() => decodeRecord('agents/1', encoded, createSecretKey(Buffer.alloc(32))), Malformed)
    }),
  )
})

test('a long body is compressed where a sample of it is worth it, and is the same again either way', () => {
  const random = new Seeded(5)
  const noise = random.bytes(700_000)
  const half = Buffer.concat([noise.subarray(0, 300_000), Buffer.alloc(300_000, 'of a table ')])
  for (const [body, bytesMax] of [
    [noise, noise.length + 5],
    [half, half.length / 2 + 10_000],
    [Buffer.alloc(4_000_000), 1000],
  ] as const) {
    const encoded = compressBody(body)
    assert.ok(encoded.length <= bytesMax, `${body.length} bytes became ${encoded.length}`)
    assert.ok(decompressBody(encoded, body.length).equals(body))
  }
})

test('a batch does not change when the next one is encoded', () => {
  const write = (fill: string) => ({
    moment: moment(1),
    change: { kind: 'write', path: treePath('disk'), at: 0, data: Buffer.alloc(5000, fill) } as const,
  })
  const one = (fill: string) => ({
    first: sequence(1),
    settled: false,
    cursor: Buffer.alloc(3),
    changes: [write(fill)],
  })
  const first = encodeBatch(one('a'))
  const second = encodeBatch(one('b'))
  assert.deepEqual(decodeBatch(first), decodeBatch(encodeBatch(one('a'))))
  assert.notDeepEqual(decodeBatch(first), decodeBatch(second))
})

test('a compressed body is the same again, and is not given more room than it may have', () => {
  const compressible = fc
    .array(fc.constantFrom('one ', 'two ', 'three '), { maxLength: 2000 })
    .map((words) => Buffer.from(words.join('')))
  fc.assert(
    fc.property(fc.oneof(bytes(5000), compressible), (body) => {
      const encoded = compressBody(body)
      assert.deepEqual(decompressBody(encoded, body.length), body)
      if (body.length > 0) assert.throws(() => decompressBody(encoded, body.length - 1), Malformed)
    }),
  )
  const bomb = compressBody(Buffer.alloc(50_000_000))
  bomb.writeUInt32BE(1000, 1)
  assert.throws(() => decompressBody(bomb, 4_000_000), Malformed)
})

const decoders: readonly [what: string, input: fc.Arbitrary<Uint8Array>, decode: (bytes: Buffer) => unknown][] = [
  ['change', encodedChange, (raw) => readChange(new ByteReader(raw))],
  ['batch', storedBatch, decodeBatch],
  ['compressed batch', batch.map(encodeBatch), decodeBatch],
  ['batch of a segment', storedBatch, readBatchPayload],
  ['block', chunks.map(encodeBlock), decodeBlock],
  ['group of a checkpoint', encodedChange.map(stored), decodeGroup],
  ['head of a checkpoint', fc.constant(encodeCheckpointHead(moment(5))), decodeCheckpointHead],
  ['pack index', fc.array(entry, { maxLength: 8 }).map((all) => encodePackIndex(0, all)), decodePackIndex],
  ['claim', fc.array(chunkId, { minLength: 1, maxLength: 5 }).map((ids) => claimPayload(1, ids)), readClaimPayload],
  ['header', header.map((told) => encodeHeader(told, fileKey(key, told.file))), (raw) => decodeHeader(raw, key)],
  [
    'frame',
    bytes().map((raw) => Buffer.concat(encodeFrame({ type: 'batch', ordinal: 0, durable: 0 }, [raw], key))),
    (raw) => decodeFrame(raw, key),
  ],
  [
    'seal',
    fc.constant(encodeSeal({ frames: 1, bytes: 2, last: sequence(3), lastFrameAt: 4, hash: Buffer.alloc(32) })),
    decodeSeal,
  ],
]

for (const [what, input, decode] of decoders) {
  test(`any bytes are a ${what}, or malformed, and nothing else happens`, () => {
    fc.assert(
      fc.property(fc.oneof({ weight: 1, arbitrary: bytes(300) }, { weight: 3, arbitrary: mangled(input) }), (raw) => {
        try {
          decode(raw)
        } catch (error) {
          assert.ok(error instanceof Malformed, `${error}`)
        }
      }),
      { numRuns: 1500 },
    )
  })
}

test('any pieces are a manifest, or malformed, and nothing else happens', async () => {
  const good = fc.array(change, { maxLength: 5 }).map(async (all) => Buffer.concat(await collect(encodeManifest(all))))
  const flips = fc.array(record({ at: fc.nat(), by: fc.integer({ min: 1, max: 255 }) }), { maxLength: 3 })
  await fc.assert(
    fc.asyncProperty(good, flips, async (encoding, all) => {
      const raw = await encoding
      for (const { at, by } of all) raw[at % raw.length]! ^= by
      try {
        await collect(decodeManifest([raw.subarray(0, 7), raw.subarray(7)]))
      } catch (error) {
        assert.ok(error instanceof Malformed, `${error}`)
      }
    }),
    { numRuns: 500 },
  )
})
