import assert from 'node:assert/strict'
import { linkSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { filesystemOf } from './filesystem.ts'
import { handleOf } from './handle.ts'
import { scratchFolder } from './scratch.ts'

test('a handle stays through renames and links, and differs between files', (t) => {
  const folder = scratchFolder(t)
  const file = join(folder, 'file')
  writeFileSync(file, '')
  mkdirSync(join(folder, 'sub'))
  const key = handleOf(file)
  linkSync(file, join(folder, 'hard'))
  renameSync(file, join(folder, 'sub', 'moved'))
  assert.equal(handleOf(join(folder, 'sub', 'moved')), key)
  assert.equal(handleOf(join(folder, 'hard')), key)
  assert.notEqual(handleOf(folder), key)
})

test('a file made anew under an old name has another handle, even with the old inode number', (t) => {
  const file = join(scratchFolder(t), 'file')
  writeFileSync(file, '')
  const old = handleOf(file)
  rmSync(file)
  writeFileSync(file, '')
  assert.notEqual(handleOf(file), old)
})

test('a symbolic link has its own handle', (t) => {
  const folder = scratchFolder(t)
  symlinkSync('.', join(folder, 'link'))
  symlinkSync('nowhere', join(folder, 'dangling'))
  assert.notEqual(handleOf(join(folder, 'link')), handleOf(folder))
  assert.equal(handleOf(join(folder, 'dangling')).slice(0, 8), filesystemOf(folder).fsid)
})

test('giving the file system saves calls and changes nothing', (t) => {
  const folder = scratchFolder(t)
  assert.equal(handleOf(folder, filesystemOf(folder).fsid), handleOf(folder))
})
