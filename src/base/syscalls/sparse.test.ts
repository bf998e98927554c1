import assert from 'node:assert/strict'
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { scratchFolder } from './scratch.ts'
import { dataRanges, punchHole, reserveSpace } from './sparse.ts'

const block = 64 * 1024 // a multiple of every usual block size

function openScratch(t: TestContext): number {
  const fd = openSync(join(scratchFolder(t), 'file'), 'w+')
  t.after(() => closeSync(fd))
  return fd
}

test('the data of a sparse file is told without its holes', (t) => {
  const fd = openScratch(t)
  ftruncateSync(fd, 100 * block)
  writeSync(fd, Buffer.alloc(block, 1), 0, block, 10 * block)
  writeSync(fd, Buffer.alloc(2 * block, 1), 0, 2 * block, 98 * block)
  assert.deepEqual(
    [...dataRanges(fd, 100 * block)],
    [
      { start: 10 * block, end: 11 * block },
      { start: 98 * block, end: 100 * block },
    ],
  )
  assert.deepEqual([...dataRanges(fd, 99 * block)].at(-1), { start: 98 * block, end: 99 * block })
  assert.deepEqual([...dataRanges(fd, 5 * block)], [])
})

test('an empty file and one that is all hole have no data', (t) => {
  const fd = openScratch(t)
  assert.deepEqual([...dataRanges(fd, 0)], [])
  ftruncateSync(fd, 10 * block)
  assert.deepEqual([...dataRanges(fd, 10 * block)], [])
})

test('a file cut short after its size was read ends where it now ends', (t) => {
  const fd = openScratch(t)
  writeSync(fd, Buffer.alloc(4 * block, 1))
  ftruncateSync(fd, 2 * block)
  assert.deepEqual([...dataRanges(fd, 4 * block)], [{ start: 0, end: 2 * block }])
})

test('a file whose holes cannot be told is all data', (t) => {
  const fd = openSync('/proc/self/stat', 'r')
  t.after(() => closeSync(fd))
  assert.deepEqual([...dataRanges(fd, 100)], [{ start: 0, end: 100 }])
})

test('a punched hole reads as zeros, takes no space and keeps the size', (t) => {
  const fd = openScratch(t)
  writeSync(fd, Buffer.alloc(8 * block, 1))
  const before = fstatSync(fd)
  assert.equal(punchHole(fd, 2 * block, 4 * block), true)
  const after = fstatSync(fd)
  assert.equal(after.size, before.size)
  assert.ok(after.blocks < before.blocks)
  const middle = Buffer.alloc(block, 9)
  readSync(fd, middle, 0, block, 3 * block)
  assert.deepEqual(middle, Buffer.alloc(block))
  assert.deepEqual(
    [...dataRanges(fd, after.size)],
    [
      { start: 0, end: 2 * block },
      { start: 6 * block, end: 8 * block },
    ],
  )
})

test('reserved space does not show in the size', (t) => {
  const fd = openScratch(t)
  assert.equal(reserveSpace(fd, 0, 16 * block), true)
  assert.equal(fstatSync(fd).size, 0)
  assert.ok(fstatSync(fd).blocks * 512 >= 16 * block)
})

test('a hole cannot be punched through a descriptor that may not write', (t) => {
  const fd = openSync('/dev/null', 'r')
  t.after(() => closeSync(fd))
  assert.throws(() => punchHole(fd, 0, block), { syscall: 'fallocate', code: 'EBADF' })
})
