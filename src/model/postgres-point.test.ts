import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCode } from '../base/errors.ts'
import { moment } from './moment.ts'
import { parsePostgresPoint } from './postgres-point.ts'

const now = moment(1_790_000_000_000_000)
const parse = (text: string) => parsePostgresPoint(text, now)

test('places in the log are told with and without what stands there', () => {
  assert.deepEqual(parse('lsn:0/3000D18'), { kind: 'lsn', lsn: 0x3000d18, inclusive: true })
  assert.deepEqual(parse('before:lsn:16/B374D848'), { kind: 'lsn', lsn: 0x16_b374_d848, inclusive: false })
  assert.deepEqual(parse('xid:1234'), { kind: 'xid', xid: 1234, inclusive: true })
  assert.deepEqual(parse('after:xid:1234'), parse('xid:1234'))
  assert.deepEqual(parse('before:xid:1234@7'), { kind: 'xid', xid: 1234, inclusive: false, timeline: 7 })
  assert.deepEqual(parse('restore-point:before the accident'), { kind: 'restore-point', name: 'before the accident' })
})

test('a transaction id with an epoch is the one in the log', () => {
  assert.deepEqual(parse('xid:8589934593'), { kind: 'xid', xid: 1, inclusive: true })
})

test('what every journal has is left to the vault, but moments', () => {
  assert.deepEqual(parse('latest'), { kind: 'journal', text: 'latest' })
  assert.deepEqual(parse('seq:17'), { kind: 'journal', text: 'seq:17' })
  assert.deepEqual(parse('mark:xid:5'), { kind: 'journal', text: 'mark:xid:5' })
  assert.deepEqual(parse('10m ago'), { kind: 'moment', moment: now - 600_000_000 })
})

test('anything else is refused with what can be given', () => {
  for (const text of [
    '',
    'xid:',
    'xid:-1',
    'xid:1x',
    'lsn:3000D18',
    'lsn:0/XYZ',
    'before:restore-point:a',
    'before:latest',
    'xid:1@0',
    'soon',
  ])
    assert.throws(
      () => parse(text),
      (error) => isCode(error, 'bad-request') && error.hint !== undefined,
      text,
    )
})
