import assert from 'node:assert/strict'
import { statfsSync } from 'node:fs'
import { test } from 'node:test'
import { filesystemOf } from './filesystem.ts'
import { scratchFolder } from './scratch.ts'

test('a file system is told by kind and identity', (t) => {
  const folder = scratchFolder(t)
  const here = filesystemOf(folder)
  assert.equal(here.type, statfsSync(folder).type)
  assert.equal(here.network, false)
  assert.equal(here.fsid.length, 8)
  assert.deepEqual(filesystemOf(folder), here)

  const proc = filesystemOf('/proc')
  assert.equal(proc.typeName, 'proc')
  assert.notEqual(proc.fsid, here.fsid)
})

test('an absent path has no file system', () => {
  assert.throws(() => filesystemOf('/absent'), { code: 'ENOENT', syscall: 'statfs' })
})
