import assert from 'node:assert/strict'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { privateDirectory } from './compile-cache.ts'

class Scratch implements Disposable {
  readonly path: string

  constructor() {
    this.path = realpathSync(mkdtempSync(join(tmpdir(), 'compile-cache-')))
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

test('a directory that is missing is made for its user alone, below one that all may write to but not replace in', () => {
  using scratch = new Scratch()
  const path = join(scratch.path, 'cache', 'compiled')
  assert.equal(
    privateDirectory(() => path),
    path,
  )
  assert.equal(statSync(path).mode & 0o777, 0o700)
  assert.equal(
    privateDirectory(() => path),
    path,
  )
})

test('a directory that others may read, or that stands where others may write, is not used', () => {
  using scratch = new Scratch()
  const path = join(scratch.path, 'cache', 'compiled')
  mkdirSync(path, { recursive: true })
  chmodSync(path, 0o755)
  assert.equal(
    privateDirectory(() => path),
    undefined,
  )
  chmodSync(path, 0o700)
  chmodSync(join(scratch.path, 'cache'), 0o777)
  assert.equal(
    privateDirectory(() => path),
    undefined,
  )
})

test('a link is followed to what it leads to, and that is looked at', () => {
  using scratch = new Scratch()
  mkdirSync(join(scratch.path, 'open', 'compiled'), { recursive: true })
  chmodSync(join(scratch.path, 'open', 'compiled'), 0o700)
  chmodSync(join(scratch.path, 'open'), 0o777)
  symlinkSync(join(scratch.path, 'open'), join(scratch.path, 'link'))
  assert.equal(
    privateDirectory(() => join(scratch.path, 'link', 'compiled')),
    undefined,
  )
})

test('a directory of another user is not used', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
  using scratch = new Scratch()
  const path = join(scratch.path, 'cache', 'compiled')
  mkdirSync(path, { recursive: true, mode: 0o700 })
  chownSync(join(scratch.path, 'cache'), 65534, 65534)
  assert.equal(
    privateDirectory(() => path),
    undefined,
  )
})

test('where none can be made there is none', () => {
  assert.equal(
    privateDirectory(() => '/proc/none/compiled'),
    undefined,
  )
})
