import assert from 'node:assert/strict'
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readNow } from './read-now.ts'
import { scratchFolder } from './scratch.ts'

test('what is in the memory of the system is read at once, and nothing is told where it is not whole', (t) => {
  const path = join(scratchFolder(t), 'file')
  const content = Buffer.from(Array.from({ length: 10_000 }, (_, index) => index % 251))
  writeFileSync(path, content)
  const fd = openSync(path, 'r')
  t.after(() => closeSync(fd))
  for (const into of [Buffer.alloc(4096), Buffer.allocUnsafe(512), Buffer.alloc(5000).subarray(100, 1124)]) {
    // A file system may decline; then it is not wrong.
    if (readNow(fd, into, 1000)) assert.deepEqual(into, content.subarray(1000, 1000 + into.length))
  }
  assert.equal(readNow(fd, Buffer.alloc(4096), 8000), false)
  assert.equal(readNow(fd, Buffer.alloc(16), 0), false)
  assert.throws(() => readNow(1_000_000, Buffer.alloc(4096), 0), { code: 'EBADF' })
})
