import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readSaid } from './said.ts'

const said = (value: unknown) => readSaid(JSON.stringify(value), undefined)

test('what commands say is told in one form, whatever kind of source they are about', () => {
  const files = { stage: 'writing', files: 1, filesTotal: 2, bytes: 10, bytesTotal: 20, leftMs: 1500 }
  assert.deepEqual(readSaid(JSON.stringify({ progress: files }), '2/3 shop'), {
    kind: 'progress',
    progress: { files: 1, filesTotal: 2, bytes: 10, bytesTotal: 20, secondsLeft: 1.5, phase: '2/3 shop: writing' },
  })
  const nothing = { files: 0, filesTotal: 0, bytes: 0, bytesTotal: 0, secondsLeft: null }
  assert.deepEqual(said({ progress: { kind: 'wal', files: 3, filesTotal: 9 } }), {
    kind: 'progress',
    progress: { ...nothing, files: 3, filesTotal: 9, phase: 'wal' },
  })
  assert.deepEqual(said({ progress: 'checking tables' }), {
    kind: 'progress',
    progress: { ...nothing, phase: 'checking tables' },
  })
  assert.deepEqual(said({ error: { code: 'no-space', message: 'full', hint: 'make room' } }).kind, 'error')
  assert.deepEqual(readSaid('no JSON at all', undefined), { kind: 'text', text: 'no JSON at all' })
  assert.deepEqual(said({ somethingElse: 1 }), { kind: 'text', text: '{"somethingElse":1}' })
})

test('a receipt is told over the link with a part of its lists', () => {
  const failures = Array.from({ length: 1000 }, (_, index) => ({ path: `/${index}`, reason: 'x'.repeat(10_000) }))
  const told = said({ receipt: { files: 7, failures } })
  assert.ok(told.kind === 'receipt')
  assert.equal(told.receipt['files'], 7)
  assert.ok(JSON.stringify(told.receipt).length < 200_000)
  const verified = said({ passed: ['a'], skipped: [], failures: ['wrong'], seconds: 2 })
  assert.ok(verified.kind === 'verified' && verified.failures[0] === 'wrong' && verified.receipt['seconds'] === 2)
})
