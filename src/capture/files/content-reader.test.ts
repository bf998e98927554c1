import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ChunkIds } from '../chunk-ids.ts'
import { ContentReader, type Reading } from './content-reader.ts'
import { emptySignature, entriesOf, entryAt, entryBytes, isSameIds, type Signature } from './signature.ts'

const reader = new ContentReader({ chunkKey: Buffer.alloc(32, 1), fingerprintSeed: 9n })

function openScratch(context: TestContext, bytes: Buffer): number {
  const scratch = mkdtempSync(join(tmpdir(), 'tidemark-content-'))
  const fd = openSync(join(scratch, 'file'), 'w+')
  writeSync(fd, bytes)
  context.after(() => {
    closeSync(fd)
    rmSync(scratch, { recursive: true })
  })
  return fd
}

function readAll(fd: number, bytes: number, known: Signature, isSparse = false): Reading {
  const reading = reader.read(bytes, isSparse, known)
  // In steps of one chunk, as when there is never time.
  while (reading.step(fd, Infinity, () => true) === 'more');
  return reading
}

test('ids are HMAC-SHA-256 of the chunk, whatever its length', () => {
  for (const key of [Buffer.alloc(32, 7), Buffer.alloc(100, 8)]) {
    const ids = new ChunkIds(key)
    for (const length of [0, 1, 63, 64, 65, 32 * 1024, 32 * 1024 + 1, 300_000]) {
      const bytes = randomBytes(length)
      assert.equal(ids.of(bytes), createHmac('sha256', key).update(bytes).digest('latin1'), `${length} bytes`)
    }
  }
})

test('an unchanged file has no new chunks, however often it is read', (context) => {
  const bytes = randomBytes(9_000_000)
  const fd = openScratch(context, bytes)
  let { signature } = readAll(fd, bytes.length, emptySignature)
  for (let pass = 0; pass < 3; pass++) {
    const again = readAll(fd, bytes.length, signature)
    assert.equal(again.newChunks, 0)
    assert.ok(isSameIds(again.signature, signature))
    signature = again.signature
  }
})

test('new chunks and holes laid over the old content make the new content', (context) => {
  const size = 3_000_000
  let before: Buffer = randomBytes(size)
  const fd = openScratch(context, before)
  let { signature } = readAll(fd, size, emptySignature)
  const edits: ((bytes: Buffer) => Buffer)[] = [
    (bytes) => Buffer.concat([bytes.subarray(0, 1_500_000), randomBytes(300), bytes.subarray(1_500_300)]),
    (bytes) => Buffer.concat([bytes.subarray(0, 700_000), Buffer.from('inserted'), bytes.subarray(700_000)]),
    (bytes) => Buffer.concat([bytes, randomBytes(10)]),
    (bytes) => Buffer.concat([bytes, randomBytes(500_000)]),
    (bytes) => bytes.subarray(0, 1_000_001),
    (bytes) => Buffer.concat([bytes, Buffer.alloc(2_000_000)]),
    (bytes) => Buffer.concat([bytes.subarray(0, 65_536), Buffer.alloc(262_144), bytes.subarray(65_536 + 262_144)]),
  ]
  for (const [index, edit] of edits.entries()) {
    const after = edit(before)
    ftruncateSync(fd, 0)
    ftruncateSync(fd, after.length)
    // Runs of zeros become holes.
    for (let at = 0; at < after.length; at += 65_536) {
      const part = after.subarray(at, at + 65_536)
      if (part.some((byte) => byte !== 0)) writeSync(fd, part, 0, part.length, at)
    }
    const reading = readAll(fd, after.length, signature, true)
    const patched = Buffer.alloc(after.length)
    before.copy(patched, 0, 0, Math.min(before.length, after.length))
    for (const { at, data } of reading.takeNew()) data.copy(patched, at)
    for (const { at, bytes } of reading.zeros) patched.fill(0, at, at + bytes)
    assert.ok(patched.equals(after), `edit ${index}`)
    before = after
    ;({ signature } = reading)
    checkSignature(signature, after)
  }
})

test('what is appended to a file is told by its beginning', (context) => {
  const bytes = randomBytes(400_000)
  const fd = openScratch(context, bytes)
  const { signature } = readAll(fd, bytes.length, emptySignature)
  writeSync(fd, 'line\n', bytes.length)
  const reading = readAll(fd, bytes.length + 5, signature)
  assert.equal(reading.appendedFrom, bytes.length)
  assert.equal(reading.appended(fd)?.toString(), 'line\n')
  checkSignature(reading.signature, Buffer.concat([bytes, Buffer.from('line\n')]))
})

/** All but zeros is covered, and the ids are right. */
function checkSignature(signature: Signature, bytes: Buffer): void {
  const rest = Buffer.from(bytes)
  for (let index = 0; index < entriesOf(signature); index++) {
    const at = entryAt(signature, index)
    const length = entryBytes(signature, index)
    const start = index * 52 + 12
    assert.equal(signature.toString('latin1', start, start + 32), reader.idOf(bytes.subarray(at, at + length)))
    rest.fill(0, at, at + length)
  }
  assert.ok(rest.every((byte) => byte === 0))
}
