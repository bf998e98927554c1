import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  displayName,
  fromAbsolute,
  fromUtf8,
  isWithin,
  joinPath,
  nameOf,
  parentOf,
  rootPath,
  treePath,
} from './path.ts'

test('names that could leave the tree or end it are refused', () => {
  for (const text of ['/a', 'a/', 'a//b', '.', '..', 'a/../b', 'a/./b', 'a\0b', 'x'.repeat(256)]) {
    assert.throws(() => treePath(text), /path/, JSON.stringify(text))
  }
})

test('an absolute path of the server is its path of the tree without the first slash', () => {
  assert.equal(fromAbsolute('/srv/docs/'), 'srv/docs')
  assert.equal(fromAbsolute('/'), rootPath)
})

test('names that are not UTF-8 are kept and shown', () => {
  const path = joinPath(treePath('srv'), 'caf\xe9')
  assert.equal(path.length, 8)
  assert.equal(displayName(path), 'srv/caf\\xe9')
  assert.equal(displayName(fromUtf8('文档')), '文档')
  assert.equal(displayName('a\nb'), 'a\\x0ab')
})

test('parents, names and containment go by whole names', () => {
  assert.equal(parentOf(treePath('a/b/c')), 'a/b')
  assert.equal(parentOf(treePath('a')), rootPath)
  assert.equal(nameOf(treePath('a/b/c')), 'c')
  assert.equal(isWithin(treePath('a/bc'), treePath('a/b')), false)
  assert.equal(isWithin(treePath('a/b/c'), treePath('a/b')), true)
  assert.equal(isWithin(treePath('a'), rootPath), true)
})
