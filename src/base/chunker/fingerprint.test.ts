import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Fingerprinter } from './fingerprint.ts'
import { ScanMemory } from './scan-memory.ts'

const memory = new ScanMemory(4096)

function fingerprint(bytes: Uint8Array, seed: bigint, at = 0): string {
  memory.bytes.set(bytes, at)
  return new Fingerprinter(seed, memory)
    .of(at, at + bytes.length)
    .toString(16)
    .padStart(16, '0')
}

test('it is XXH64, by the vectors its author tests with', () => {
  const seed = 0x9e3779b1n
  const bytes = sanityBytes(222)
  for (const [length, of, expected] of [
    [0, 0n, 'ef46db3751d8e999'],
    [0, seed, 'ac75fda2929b17ef'],
    [1, 0n, 'e934a84adb052768'],
    [1, seed, '5014607643a9b4c3'],
    [4, 0n, '9136a0dca57457ee'],
    [14, 0n, '8282dcc4994e35c8'],
    [14, seed, 'c3bd6bf63deb6df0'],
    [222, 0n, 'b641ae8cb691c174'],
    [222, seed, '20cb8ab7ae10c14a'],
  ] as const) {
    assert.equal(fingerprint(bytes.subarray(0, length), of), expected, `${length} bytes, seed ${of}`)
  }
  assert.equal(fingerprint(Buffer.from('Nobody inspects the spammish repetition'), 0n), 'fbcea83c8a378bf1')
})

test('it depends on every byte, on the length and on the seed, and not on the place in memory', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.nat(2000),
      fc.nat(),
      (bytes, seed, at, which) => {
        const whole = fingerprint(bytes, seed)
        assert.equal(fingerprint(bytes, seed, at), whole)
        assert.notEqual(fingerprint(bytes, seed ^ 1n), whole)
        assert.notEqual(fingerprint(bytes.subarray(0, -1), seed), whole)
        const changed = Uint8Array.from(bytes)
        changed[which % bytes.length]! ^= 1 << (which % 8)
        assert.notEqual(fingerprint(changed, seed), whole)
      },
    ),
  )
})

test('a block outside the memory is refused', () => {
  assert.throws(() => new Fingerprinter(0n, memory).of(4000, 4097), /broken invariant/)
  assert.throws(() => new Fingerprinter(0n, memory).of(-1, 10), /broken invariant/)
})

/** As the tests of xxHash make theirs. */
function sanityBytes(length: number): Uint8Array {
  let state = 0x9e3779b1n
  return Uint8Array.from({ length }, () => {
    const byte = Number(state >> 56n)
    state = BigInt.asUintN(64, state * 0x9e3779b185ebca8dn)
    return byte
  })
}
