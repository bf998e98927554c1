import assert from 'node:assert/strict'
import { test } from 'node:test'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { giveBack } from './give-back.ts'

test('memory that is given back is empty at once, by whichever view of it', () => {
  const bytes = Buffer.allocUnsafeSlow(1024 * 1024)
  giveBack(bytes.subarray(7, 9))
  assert.equal(bytes.length, 0)
  const whole = zstdDecompressSync(zstdCompressSync(Buffer.alloc(1024 * 1024, 1)), { chunkSize: 1024 * 1024 + 1 })
  giveBack(whole)
  assert.equal(whole.length, 0)
})

test('what may stand in memory that many share is left as it is', () => {
  for (const bytes of [Buffer.from('small'), Buffer.allocUnsafe(Buffer.poolSize / 2), Buffer.alloc(Buffer.poolSize)]) {
    const before = Uint8Array.from(bytes)
    giveBack(bytes)
    assert.ok(bytes.equals(before))
  }
})
