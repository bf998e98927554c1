import assert from 'node:assert/strict'
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { scratchFolder } from './scratch.ts'
import { syncFilesystem } from './sync.ts'

test('a whole file system is synced by any of its open files', (t) => {
  const fd = openSync(join(scratchFolder(t), 'file'), 'w')
  writeSync(fd, 'text')
  syncFilesystem(fd)
  closeSync(fd)
  assert.throws(() => syncFilesystem(-1), { code: 'EBADF', syscall: 'syncfs' })
})
