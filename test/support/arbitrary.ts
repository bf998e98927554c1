import fc from 'fast-check'
import type { Batch } from '../../src/model/batch.ts'
import {
  type Attributes,
  type Change,
  type ChunkId,
  type Content,
  type Extent,
  type Mark,
  suspectReasons,
} from '../../src/model/change.ts'
import { moment } from '../../src/model/moment.ts'
import type { BinaryString, TreePath } from '../../src/model/path.ts'
import { sequence } from '../../src/model/sequence.ts'

/** With the prototype that objects of the program have. */
export const record = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>

export const bytes = (maxLength = 100): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((array) => Buffer.from(array))

const binary = (maxLength: number): fc.Arbitrary<BinaryString> =>
  bytes(maxLength).map((raw) => raw.toString('latin1') as BinaryString)

const name = binary(20).filter((text) => text !== '' && text !== '.' && text !== '..' && !/[/\0]/.test(text))
export const path: fc.Arbitrary<TreePath> = fc.array(name, { maxLength: 5 }).map((names) => names.join('/') as TreePath)
const whole = fc.oneof(fc.nat(), fc.integer({ min: 0, max: 2 ** 48 }))
const text = fc.string({ maxLength: 30 })

export const chunkId: fc.Arbitrary<ChunkId> = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((raw) => Buffer.from(raw).toString('latin1') as ChunkId)

export const attributes: fc.Arbitrary<Attributes> = record({
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.nat(0xffff_ffff),
  gid: fc.nat(0xffff_ffff),
  modifiedNs: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  xattrs: fc.array(record({ name: binary(255), value: bytes(200) }), { maxLength: 4 }),
})

/** Extents in order, and a size that holds them. */
const sized: fc.Arbitrary<{ bytes: number; extents: Extent[] }> = record({
  pieces: fc.array(
    record({
      gap: fc.nat(5000),
      piece: fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 300 }).map((data) => ({ data: Buffer.from(data) })),
        record({ chunk: chunkId, bytes: fc.integer({ min: 1, max: 1024 * 1024 }) }),
      ),
    }),
    { maxLength: 6 },
  ),
  rest: fc.nat(1000),
}).map(({ pieces, rest }) => {
  const extents: Extent[] = []
  let end = 0
  for (const { gap, piece } of pieces) {
    const at = end + gap
    const extent: Extent =
      'data' in piece
        ? { at, bytes: piece.data.length, data: piece.data }
        : { at, bytes: piece.bytes, chunk: piece.chunk }
    extents.push(extent)
    end = at + extent.bytes
  }
  return { bytes: end + rest, extents }
})

const content: fc.Arbitrary<Content> = fc.oneof(
  fc.constantFrom<Content>({ type: 'directory' }, { type: 'fifo' }, { type: 'socket' }),
  sized.map((file): Content => ({ type: 'file', ...file })),
  binary(200).map((target): Content => ({ type: 'symlink', target })),
  record({ type: fc.constantFrom('character-device', 'block-device'), major: fc.nat(), minor: fc.nat() }),
)

const reason = fc.constantFrom(...suspectReasons)
const mark: fc.Arbitrary<Mark> = fc.oneof(
  record({ type: fc.constantFrom('suspect', 'complete'), reason }),
  record({ type: fc.constant('hole'), since: whole.map(moment), reason: text }),
  record({ type: fc.constantFrom('torn', 'vanished'), path }),
  record({ type: fc.constant('user'), label: text }),
)

const range = record({ at: whole, bytes: whole })

export const change: fc.Arbitrary<Change> = fc.oneof(
  record({ kind: fc.constant('put'), path, attributes, content }),
  record({ path, attributes, sized, zeros: fc.array(range, { maxLength: 4 }) }).map(
    ({ sized: parts, ...rest }): Change => ({ kind: 'patch', ...rest, ...parts }),
  ),
  record({ kind: fc.constant('link'), path, to: path }),
  record({ kind: fc.constant('rename'), path, from: path }),
  record({ kind: fc.constant('remove'), path }),
  record({ kind: fc.constant('attributes'), path, attributes }),
  record({ kind: fc.constant('write'), path, at: whole, data: bytes(2000) }),
  record({ kind: fc.constant('zero'), path, at: whole, bytes: whole }),
  record({ kind: fc.constant('truncate'), path, bytes: whole }),
  record({ kind: fc.constant('mark'), mark }),
)

export const batch: fc.Arbitrary<Batch> = record({
  first: fc.integer({ min: 1, max: 2 ** 48 }).map(sequence),
  settled: fc.boolean(),
  cursor: bytes(100),
  start: fc.integer({ min: 0, max: 2 ** 51 }),
  steps: fc.array(record({ afterUs: fc.nat(), change }), { minLength: 1, maxLength: 20 }),
}).map(({ first, settled, cursor, start, steps }) => {
  let at = start
  const changes = steps.map(({ afterUs, change: made }, index) => ({
    moment: moment((at += index === 0 ? 0 : afterUs)),
    change: made,
  }))
  return { first, settled, cursor, changes }
})

/** Bytes that are nearly right: some of these, with a few changed, cut or added. */
export const mangled = (good: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Buffer> =>
  record({
    good,
    flips: fc.array(record({ at: fc.nat(), by: fc.integer({ min: 1, max: 255 }) }), { maxLength: 4 }),
    cut: fc.option(fc.nat(), { freq: 4 }),
    more: bytes(5),
  }).map(({ good: from, flips, cut, more }) => {
    const result = Buffer.concat([cut === null ? from : from.subarray(0, cut % (from.length + 1)), more])
    for (const { at, by } of flips) if (result.length > 0) result[at % result.length]! ^= by
    return result
  })
