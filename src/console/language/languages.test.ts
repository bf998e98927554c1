import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alarmRules, languages as known } from '../../api/console.ts'
import { languages } from './languages.ts'
import { reportWords } from './language.ts'

const values = { vault: 'north', agent: 'db-1', source: 'erp', lagMs: 3_725_000, lagMsMax: 5000, sources: 2, more: 1 }

test('each language says every alarm and its next step, every word of reports, and none of them in the other language', () => {
  assert.deepEqual(Object.keys(languages).toSorted(), [...known].toSorted())
  for (const [name, language] of Object.entries(languages)) {
    const said = [
      ...alarmRules.flatMap((rule) => [language.alarms[rule].is(values), language.alarms[rule].next(values)]),
      ...alarmRules.flatMap((rule) => [language.alarms[rule].is({}), language.alarms[rule].next({})]),
      ...reportWords.map((word) => language.report[word]),
    ]
    for (const text of said) {
      assert.ok(text.length > 1 && !/undefined|NaN|\[object/.test(text), `${name}: ${text}`)
      const isChinese = /\p{Script=Han}/u.test(text)
      assert.equal(isChinese, name === 'zh-CN', `${name}: ${text}`)
    }
  }
})

test('a duration is told by its two largest units', () => {
  const { en, 'zh-CN': zh } = languages
  assert.deepEqual([7, 4000, 61_000, 3_725_000, 7_200_000, 90_000_000].map(en.duration), [
    '7 ms',
    '4 s',
    '1 min 1 s',
    '1 h 2 min',
    '2 h',
    '1 d 1 h',
  ])
  assert.equal(zh.duration(3_725_000), '1 小时 2 分')
})
