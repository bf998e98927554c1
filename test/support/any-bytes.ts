import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Malformed } from '../../src/base/bytes.ts'

/**
 * Whatever bytes it is given, flipped ones of `whole` among them, `decode` answers or throws `Malformed`, and what lies
 * beyond them in memory makes no difference.
 */
export function holdsForAnyBytes(decode: (bytes: Buffer) => unknown, whole: Buffer): void {
  const damaged = fc
    .array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
    .map((changes) => {
      const copy = Buffer.from(whole)
      for (const [at, value] of changes) copy[at] = value
      return copy
    })
  const any = fc.uint8Array({ maxLength: 300 }).map((some) => Buffer.from(some))
  fc.assert(
    fc.property(fc.oneof(damaged, any), fc.uint8Array({ minLength: 64, maxLength: 64 }), (given, beyond) => {
      assert.deepEqual(
        outcome(decode, given),
        outcome(decode, Buffer.concat([given, beyond]).subarray(0, given.length)),
      )
    }),
    { numRuns: 3000 },
  )
}

function outcome(decode: (bytes: Buffer) => unknown, given: Buffer): unknown {
  try {
    return decode(given)
  } catch (error) {
    assert.ok(error instanceof Malformed, String(error))
    return error.message
  }
}
