import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lackingPostgres } from '../../../test/support/postgres-program.ts'
import { Cluster } from '../../../test/support/postgres.ts'
import {
  formatStandbyNames,
  parseStandbyNames,
  waitsAlwaysFor,
  waitsFor,
  withName,
  withoutName,
} from './standby-names.ts'

const newest = 18

test('every form of the setting is understood', () => {
  assert.deepEqual(parseStandbyNames(''), { method: 'FIRST', count: 1, names: [] })
  assert.deepEqual(parseStandbyNames('a, "B c"'), { method: 'FIRST', count: 1, names: ['a', 'B c'] })
  assert.deepEqual(parseStandbyNames('2 (a,b,*)'), { method: 'FIRST', count: 2, names: ['a', 'b', '*'] })
  assert.deepEqual(parseStandbyNames('any 2("x""y", "a,b")'), { method: 'ANY', count: 2, names: ['x"y', 'a,b'] })
})

test('whether a commit waits for one of them is what the server would do', () => {
  const cases: [setting: string, waits: boolean, always: boolean][] = [
    ['', false, false],
    ['us', true, true],
    ['US, a', true, false],
    ['a, us', false, false],
    ['FIRST 2 (us, a)', true, true],
    ['FIRST 2 (us, a, b)', true, false],
    ['FIRST 2 (us, *)', true, false],
    ['ANY 1 (us, a)', false, false],
    ['ANY 2 (us, a)', true, true],
    ['*', false, false],
  ]
  for (const [setting, waits, always] of cases) {
    const parsed = parseStandbyNames(setting)
    assert.deepEqual([waitsFor(parsed, 'us'), waitsAlwaysFor(parsed, 'us')], [waits, always], setting)
  }
})

test('a name is put in front of the others, and taken out again', () => {
  const cases: [without: string, withUs: string][] = [
    ['', 'us'],
    ['a', 'FIRST 2 (us, a)'],
    ['FIRST 1 (a, b)', 'FIRST 2 (us, a, b)'],
    ['FIRST 2 (a, "B c")', 'FIRST 3 (us, a, "B c")'],
  ]
  for (const [without, withUs] of cases) {
    assert.equal(formatStandbyNames(withName(parseStandbyNames(without), 'us')), withUs)
    assert.equal(formatStandbyNames(withoutName(parseStandbyNames(withUs), 'us')), without)
  }
  assert.equal(formatStandbyNames(withoutName(parseStandbyNames('ANY 1 (us, a)'), 'us')), 'a')
})

test('the server takes what is written', { skip: lackingPostgres(newest) }, async (t) => {
  const cluster = await Cluster.create(t, { major: newest })
  for (const setting of ['us', 'FIRST 2 (us, a)', 'ANY 2 (us, "B ""c")', 'FIRST 1 (us, *)']) {
    const text = formatStandbyNames(parseStandbyNames(setting))
    assert.equal(text, setting)
    await cluster.sql(`ALTER SYSTEM SET synchronous_standby_names = '${text}'`)
  }
})
