import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lagClassesMs } from '../../../src/api/measures.ts'
import { lagBoundsMs, usedClasses } from './lag-classes.ts'

test('the classes of lag are those that the vault counts in', () => {
  assert.deepEqual([...lagBoundsMs], [...lagClassesMs])
})

test('the classes that anything is in are shown, with one beside them', () => {
  const counts = (used: Record<number, number>): number[] => Array.from({ length: 14 }, (_, at) => used[at] ?? 0)
  assert.deepEqual(usedClasses([counts({ 3: 10 }), counts({ 5: 1 })]), [2, 3, 4, 5, 6])
  assert.deepEqual(
    usedClasses([counts({ 0: 1, 13: 1 })]),
    Array.from({ length: 14 }, (_, at) => at),
  )
  assert.deepEqual(usedClasses([counts({})]), [])
})
