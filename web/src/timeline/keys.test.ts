import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deedOf } from './keys.ts'

const press = (key: string, held: { shiftKey?: boolean; ctrlKey?: boolean } = {}) =>
  deedOf({ key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...held })

test('every way of the pointer has a key, and the keys of the browser stay its own', () => {
  assert.deepEqual(press('ArrowRight'), { kind: 'move', pixels: 10 })
  assert.deepEqual(press('ArrowLeft', { shiftKey: true }), { kind: 'move', pixels: -1 })
  assert.deepEqual(press('PageUp'), { kind: 'landmark', towards: 'earlier' })
  assert.deepEqual(press('End'), { kind: 'end', which: 'latest' })
  assert.deepEqual(press('Enter'), { kind: 'enter' })
  const [near, far] = [press('+'), press('-')]
  assert.ok(near?.kind === 'zoom' && far?.kind === 'zoom' && Math.abs(near.factor * far.factor - 1) < 1e-9)
  for (const key of ['Tab', 'Escape', 'a']) assert.equal(press(key), undefined)
  assert.equal(press('+', { ctrlKey: true }), undefined)
})
