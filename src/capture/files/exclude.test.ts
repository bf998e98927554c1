import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromUtf8, type TreePath } from '../../model/path.ts'
import { Exclusion } from './exclude.ts'

const excluded = (patterns: string[], path: string, isDirectory = false): boolean =>
  new Exclusion(patterns).excludes(fromUtf8(path) as string as TreePath, isDirectory)

test('patterns mean what they mean to git', () => {
  const cases: [pattern: string, path: string, isDirectory: boolean, expected: boolean][] = [
    ['*.log', 'a.log', false, true],
    ['*.log', 'deep/down/a.log', false, true],
    ['*.log', 'a.log.txt', false, false],
    ['/a.log', 'a.log', false, true],
    ['/a.log', 'deep/a.log', false, false],
    ['deep/a', 'deep/a', false, true],
    ['deep/a', 'very/deep/a', false, false],
    ['build/', 'build', true, true],
    ['build/', 'build', false, false],
    ['**/cache', 'a/b/cache', true, true],
    ['a/**', 'a/b/c', false, true],
    ['a/**', 'a', true, false],
    ['a/**/z', 'a/z', false, true],
    ['a/**/z', 'a/b/c/z', false, true],
    ['a*b', 'a/b', false, false],
    ['a?c', 'abc', false, true],
    ['[a-c].txt', 'b.txt', false, true],
    ['[!a-c].txt', 'b.txt', false, false],
    ['\\#note', '#note', false, true],
    ['\\!note', '!note', false, true],
    ['a\\*', 'a*', false, true],
    ['a\\*', 'ab', false, false],
    ['été', 'été', false, true],
    ['a.b', 'axb', false, false],
    ['(x)', '(x)', false, true],
  ]
  for (const [pattern, path, isDirectory, expected] of cases) {
    assert.equal(excluded([pattern], path, isDirectory), expected, `${pattern} for ${path}`)
  }
})

test('the last pattern that matches decides; comments and empty lines are none', () => {
  assert.equal(excluded(['*.log', '!keep.log'], 'keep.log'), false)
  assert.equal(excluded(['!keep.log', '*.log'], 'keep.log'), true)
  assert.equal(excluded(['# *', '', '   '], 'a'), false)
})
