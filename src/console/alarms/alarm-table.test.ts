import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { startUs } from '../../../test/support/vault-seen.ts'
import { systemRandom } from '../../base/random.ts'
import type { Moment } from '../../model/moment.ts'
import { Database } from '../database.ts'
import { AlarmTable } from './alarm-table.ts'
import type { About, AlarmChange, OpenAlarm } from './evaluate.ts'

const minuteUs = 60_000_000
const at = (minutes: number): Moment => (startUs + minutes * minuteUs) as Moment

function table(context: TestContext): AlarmTable {
  const database = new Database(':memory:')
  context.after(() => database[Symbol.dispose]())
  return new AlarmTable(database, systemRandom)
}

const alarm = (name: string, severity: OpenAlarm['severity'] = 'critical', other: Partial<About> = {}): OpenAlarm => ({
  about: { rule: 'agent-gone', vault: 'v1', agent: name, subject: name, ...other },
  severity,
  values: { agent: name, vault: 'north', sources: 2 },
})
const raised = (name: string, severity?: OpenAlarm['severity']): AlarmChange => ({
  kind: 'raised',
  key: name,
  alarm: alarm(name, severity),
})
const resolved = (name: string): AlarmChange => ({ kind: 'resolved', key: name })
const events = (told: readonly { event: string; alarm: { agent?: string | undefined } }[]): string[] =>
  told.map(({ event, alarm: { agent } }) => `${event} ${agent}`)

test('what is open is remembered by the next console as the rules left it', (context) => {
  const alarms = table(context)
  alarms.apply([raised('db-1'), raised('db-2')], at(0))
  alarms.apply([resolved('db-2')], at(1))
  assert.deepEqual(alarms.remembered(), [alarm('db-1')])
  assert.deepEqual(
    alarms.open(at(1)).map(({ agent, ended }) => [agent, ended]),
    [['db-1', null]],
  )
})

test('each alarm is told once as raised, once as worse and once as over', (context) => {
  const alarms = table(context)
  const warned = alarms.apply([raised('db-1', 'warning')], at(0))
  assert.deepEqual(events(warned.told), ['raised db-1'])
  assert.deepEqual(events(alarms.apply([], at(1)).told), [])
  const changed = (isWorse: boolean): AlarmChange => ({ kind: 'changed', key: 'db-1', alarm: alarm('db-1'), isWorse })
  assert.deepEqual(events(alarms.apply([changed(false)], at(2)).told), [])
  assert.deepEqual(events(alarms.apply([changed(true)], at(3)).told), ['worse db-1'])
  assert.deepEqual(events(alarms.apply([resolved('db-1')], at(4)).told), ['resolved db-1'])
})

test('a silenced alarm is not told, also when it comes again, and is told when the silence ends if it still lasts', (context) => {
  const alarms = table(context)
  const [first] = alarms.apply([raised('db-1')], at(0)).alarms
  alarms.silence(first!.id, 'wang', at(60), at(1))
  assert.deepEqual(alarms.demand(first!.id, at(1)).silenced?.by, 'wang')
  // The end of what was told is told all the same.
  assert.deepEqual(events(alarms.apply([resolved('db-1')], at(2)).told), ['resolved db-1'])
  assert.deepEqual(events(alarms.apply([raised('db-1')], at(3)).told), [])
  assert.equal(alarms.hasUntold(at(59)), false)
  assert.equal(alarms.hasUntold(at(61)), true)
  assert.deepEqual(events(alarms.apply([], at(61)).told), ['raised db-1'])
})

test('what came and went in silence is told to nobody', (context) => {
  const alarms = table(context)
  const [first] = alarms.apply([raised('db-1')], at(0)).alarms
  alarms.apply([resolved('db-1')], at(1))
  alarms.silence(first!.id, 'wang', at(60), at(2))
  alarms.apply([raised('db-1')], at(3))
  assert.deepEqual(events(alarms.apply([resolved('db-1')], at(4)).told), [])
  assert.equal(alarms.hasUntold(at(61)), false)
})

test('who acknowledged first stays, and a silence can be taken back', (context) => {
  const alarms = table(context)
  const [first] = alarms.apply([raised('db-1')], at(0)).alarms
  alarms.acknowledge(first!.id, 'li', at(1))
  assert.equal(alarms.acknowledge(first!.id, 'wang', at(2)).acknowledged?.by, 'li')
  alarms.silence(first!.id, 'li', at(60), at(2))
  assert.equal(alarms.silence(first!.id, 'li', undefined, at(3)).silenced, undefined)
  assert.throws(() => alarms.acknowledge('0'.repeat(32), 'li', at(1)), { code: 'not-found' })
})

test('the past is searched page by page, and is bounded by its age and by its number', (context) => {
  const alarms = table(context)
  for (let n = 0; n < 30; n++) {
    alarms.apply([raised(`db-${n}`)], at(n * 10))
    if (n < 25) alarms.apply([resolved(`db-${n}`)], at(n * 10 + 5))
  }
  const page = (before?: number) => alarms.search({ open: false, limit: 10, ...(before ? { before } : {}) }, at(300))
  assert.deepEqual(
    [page(), page(16), page(6)].map((rows) => [rows.length, rows[0]?.agent]),
    [
      [10, 'db-24'],
      [10, 'db-14'],
      [5, 'db-4'],
    ],
  )
  assert.equal(alarms.search({ text: 'DB-7', limit: 10 }, at(300)).length, 1)
  assert.equal(alarms.search({ text: '%', limit: 10 }, at(300)).length, 0)
  alarms.trim(at(300), { keptMs: 200 * 60_000 })
  assert.equal(alarms.search({ open: false, limit: 500 }, at(300)).length, 15)
  alarms.trim(at(300), { rowsMax: 4 })
  assert.deepEqual(
    alarms.search({ open: false, limit: 500 }, at(300)).map(({ agent }) => agent),
    ['db-24', 'db-23', 'db-22', 'db-21'],
  )
  assert.equal(alarms.open(at(300)).length, 5)
})
