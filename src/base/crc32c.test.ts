import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { crc32c } from './crc32c.ts'

/** The vectors of RFC 3720, B.4, and the usual one. */
test('CRC-32C is the one of the published vectors', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa)
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43)
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, at) => at)), 0x46dd794e)
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, at) => 31 - at)), 0x113fdb5c)
  assert.equal(crc32c(new Uint8Array()), 0)
})

test('CRC-32C goes on over pieces, of any length and at any place', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), fc.nat(300), (bytes, one, other) => {
      const [first, second] = [one, other].map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b) as [
        number,
        number,
      ]
      const pieces = crc32c(bytes, second, bytes.length, crc32c(bytes, first, second, crc32c(bytes, 0, first)))
      assert.equal(pieces, crc32c(bytes))
    }),
  )
})
