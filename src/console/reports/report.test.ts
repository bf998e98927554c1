import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alarmAt } from '../../../test/support/vault-seen.ts'
import type { Report } from '../../api/console.ts'
import { lagClassesMs, type Measure } from '../../api/measures.ts'
import { taskRecord } from '../../api/tasks.ts'
import { isoMoment, moment, type Moment } from '../../model/moment.ts'
import { english } from '../language/en.ts'
import { chinese } from '../language/zh-CN.ts'
import { summarise } from './measured.ts'
import { isWithin, spanOf } from './month.ts'
import { reportCsv } from './report-csv.ts'
import { restoreOf } from './report.ts'

const at = (iso: string): Moment => moment(Date.parse(iso) * 1000)
const now = at('2026-11-23T12:00:00Z')

test('a month is one of UTC, the present one ends now, and one to come is empty', () => {
  assert.deepEqual(spanOf('2026-10', now), { from: at('2026-10-01T00:00:00Z'), until: at('2026-11-01T00:00:00Z') })
  assert.deepEqual(spanOf('2026-11', now), { from: at('2026-11-01T00:00:00Z'), until: now })
  assert.deepEqual(spanOf('2026-12', now), { from: at('2026-12-01T00:00:00Z'), until: at('2026-12-01T00:00:00Z') })
  assert.equal(isWithin('2026-11-01T00:00:00.000000Z', spanOf('2026-10', now)), false)
  assert.equal(isWithin('2026-11-01T00:00:00.000000Z', spanOf('2026-11', now)), true)
})

/** An hour of which each class of lag has the seconds that are said. */
function hour(iso: string, seconds: Record<number, number>, lagMsMax: number, other: Partial<Measure> = {}): Measure {
  const lagClasses = [...lagClassesMs, Infinity].map((bound) => seconds[bound] ?? 0)
  const known = lagClasses.reduce((sum, count) => sum + count, 0)
  return {
    at: isoMoment(at(iso)),
    seconds: known,
    unknownSeconds: 0,
    lateSeconds: 0,
    lagMsMax,
    lagClasses,
    worst: 'protected',
    changes: 10,
    bytes: 1000,
    ...other,
  }
}

test('percentiles are those of all the seconds of the month, not of its hours', () => {
  const hours = [
    hour('2026-11-01T00:00:00Z', { 500: 3600 }, 480),
    hour('2026-11-01T01:00:00Z', { 500: 3000, 60_000: 590, 300_000: 10 }, 240_000, { lateSeconds: 600 }),
    hour('2026-11-02T00:00:00Z', { 1000: 1800 }, 990, { seconds: 2000, unknownSeconds: 200 }),
  ]
  const sum = summarise(hours, at('2026-11-01T00:00:00Z'), spanOf('2026-11', at('2026-11-02T01:00:00Z')))
  assert.deepEqual(sum.lagMs, { p50: 500, p95: 60_000, p99: 60_000, max: 240_000 })
  assert.deepEqual(
    [sum.secondsExpected, sum.secondsMeasured, sum.unknownSeconds, sum.lateSeconds],
    [90_000, 9200, 200, 600],
  )
  assert.deepEqual([sum.changes, sum.bytes], [30, 3000])
  assert.deepEqual(
    sum.days.map((day) => [day.at.slice(0, 10), day.seconds, day.lateSeconds, day.p50, day.max]),
    [
      ['2026-11-01', 7200, 600, 500, 240_000],
      ['2026-11-02', 2000, 0, 990, 990],
    ],
  )
})

test('nothing is expected of a source before it was first measured, and nothing is told of one that never was', () => {
  const span = spanOf('2026-11', now)
  assert.equal(summarise([], undefined, span).secondsExpected, 0)
  assert.deepEqual(summarise([], undefined, span).lagMs, { p50: null, p95: null, p99: null, max: null })
  assert.equal(summarise([], at('2026-11-23T11:00:00Z'), span).secondsExpected, 3600)
})

const report: Report = {
  system: '=cmd|calc',
  month: '2026-11',
  from: isoMoment(at('2026-11-01T00:00:00Z')),
  until: isoMoment(now),
  made: isoMoment(now),
  missing: [],
  sources: [
    {
      name: 'erp',
      vault: 'north',
      kind: 'postgres',
      lagMsMax: 5000,
      ...summarise(
        [hour('2026-11-01T00:00:00Z', { 500: 3600 }, 480)],
        at('2026-11-01T00:00:00Z'),
        spanOf('2026-11', now),
      ),
      holes: [{ from: isoMoment(now), until: null, reason: '@SUM(A1), "quoted"\nnext' }],
      verifications: [{ at: isoMoment(now), moment: isoMoment(now), good: true, text: '-2+3;=1+1', by: '\u0009tab' }],
    },
  ],
  restores: [],
  alarms: [alarmAt(1, { system: 'erp' })],
}

test('a CSV opens in a Chinese Excel and runs no formula that others wrote', () => {
  const text = reportCsv(report, chinese)
  assert.equal(text.charCodeAt(0), 0xfeff)
  const lines = text.slice(1).split('\r\n')
  assert.equal(lines[0], "业务系统,'=cmd|calc")
  assert.ok(lines.some((line) => line.startsWith('erp,north,') && line.includes(',3600,0,480,480,480,480,10,1000')))
  assert.match(text, /"'@SUM\(A1\), ""quoted""\nnext"/)
  assert.match(text, /,"'-2\+3;=1\+1","'\ttab"/)
  assert.match(text, /严重,主站“db-1”/)
  const cells = text.slice(1).split(/\r\n|,/)
  assert.ok(cells.every((cell) => !/^"?[=+@]/.test(cell)))
  assert.match(reportCsv(report, english), /^\u{feff}System,/u)
})

test('a restore stands under the name of its source, also where whoever asked named it by its id', () => {
  const body = { kind: 'restore', agent: 'a1', source: '5d0c', at: 'latest', to: '/srv/back' }
  const when = isoMoment(now)
  const asked = { id: '0'.repeat(32), kind: 'restore', body, state: 'done', by: 'chen', source: 'erp', log: [] }
  const [told] = restoreOf('north', taskRecord.parse({ ...asked, created: when, began: when, ended: when }))
  assert.equal(told?.source, 'erp')
})
