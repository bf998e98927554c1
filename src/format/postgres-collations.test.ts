import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collationDifferences, tellCollations } from './postgres-collations.ts'

test('collations are told by provider and version, and what differs on another machine is found', () => {
  const then = tellCollations([
    ['icu', '153.120'],
    ['libc', '2.36'],
  ])
  assert.equal(then, 'icu 153.120, libc 2.36')
  assert.deepEqual(collationDifferences(then, then), [])
  assert.deepEqual(collationDifferences(then, 'icu 153.14, libc 2.36'), [
    { provider: 'icu', was: '153.120', is: '153.14' },
  ])
  assert.deepEqual(collationDifferences(then, 'icu 153.120'), [{ provider: 'libc', was: '2.36', is: 'none' }])
  assert.deepEqual(collationDifferences('', then), [], 'of what was never known nothing is said')
  assert.deepEqual(collationDifferences('icu 1, icu 2', 'icu 2'), [{ provider: 'icu', was: '1 and 2', is: '2' }])
})
