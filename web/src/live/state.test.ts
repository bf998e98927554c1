import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Alarm, LiveEvent, VaultEntry } from '../../../src/api/console.ts'
import type { SourceStatus, VaultStatus } from '../../../src/api/schemas.ts'
import { apply, type LiveState, nothingYet, resolvedAlarmsMax } from './state.ts'
import { countSystems, systemsOf } from './systems.ts'

const nowMs = Date.parse('2026-11-23T06:00:00Z')
const entry = (id: string, connected = true): VaultEntry => ({
  id,
  name: id,
  url: `${id}:7433`,
  connected,
  since: null,
})
const source = (id: string, change: Partial<SourceStatus> = {}): SourceStatus =>
  ({ id, name: id, state: 'protected', lagMs: 100, bytesPerSecond: 5, verified: null, ...change }) as SourceStatus
const status = (...sources: SourceStatus[]): VaultStatus =>
  ({ id: 'x', name: 'x', freeBytes: 9, storedBytes: 1, stalled: false, damage: [], sources }) as unknown as VaultStatus
const alarm = (id: string, change: Partial<Alarm> = {}): Alarm => ({ id, began: id, ended: null, ...change }) as Alarm
const hello = (vaults: VaultEntry[], alarms: Alarm[] = []): LiveEvent => ({
  kind: 'hello',
  now: '2026-11-23T06:00:02.000000Z',
  vaults,
  alarms,
})
const told = (vault: string, event: (LiveEvent & { kind: 'vault' })['event']): LiveEvent => ({
  kind: 'vault',
  vault,
  event,
})

const of = (state: LiveState, ...events: LiveEvent[]): LiveState => apply(state, events, nowMs)

test('what a vault told first is kept up by what it tells afterwards', () => {
  const state = of(
    nothingYet,
    hello([entry('north')]),
    told('north', { kind: 'vault', vault: status(source('a'), source('b')) }),
    told('north', { kind: 'source', source: source('a', { state: 'late' }) }),
    told('north', { kind: 'source-gone', id: 'b' }),
    told('north', { kind: 'space', now: '', stalled: true, freeBytes: 0, storedBytes: 10 }),
  )
  const north = state.vaults.get('north')!
  assert.deepEqual(
    [...north.sources.values()].map(({ id, state: is }) => [id, is]),
    [['a', 'late']],
  )
  assert.equal(north.status?.stalled, true)
  assert.equal(state.clockAheadMs, 2_000)
  assert.deepEqual(state.connection, { kind: 'live' })
})

test('a state that was shown is never changed by what comes later', () => {
  const before = of(nothingYet, hello([entry('north')]), told('north', { kind: 'vault', vault: status(source('a')) }))
  const after = of(
    before,
    told('north', { kind: 'source', source: source('b') }),
    told('north', { kind: 'vault', vault: status(source('c')) }),
    told('north', { kind: 'source', source: source('d') }),
    told('north', { kind: 'source-gone', id: 'c' }),
  )
  const names = (state: LiveState): string[] => [...(state.vaults.get('north')?.sources.keys() ?? [])]
  assert.deepEqual([names(before), names(after)], [['a'], ['d']])
})

test('a vault that is away keeps what it told last, and its systems are unknown, not protected', () => {
  const before = of(nothingYet, hello([entry('north')]), told('north', { kind: 'vault', vault: status(source('a')) }))
  assert.equal(systemsOf(before, nowMs)[0]?.state, 'protected')
  const state = of(before, { kind: 'connection', entry: entry('north', false) })
  assert.equal(state.vaults.get('north')?.sources.size, 1)
  assert.equal(systemsOf(state, nowMs)[0]?.state, 'unknown')
  const { protected: well, stalled } = countSystems(systemsOf(state, nowMs))
  assert.deepEqual([well, stalled], [0, 1])
})

test('a vault that the console no longer has is gone, whether it was told or happened while nobody listened', () => {
  const both = of(nothingYet, hello([entry('north'), entry('south')]))
  assert.deepEqual([...of(both, { kind: 'vault-removed', vault: 'north' }).vaults.keys()], ['south'])
  assert.deepEqual([...of(both, hello([entry('north')])).vaults.keys()], ['north'])
  assert.equal(of(both, told('west', { kind: 'vault', vault: status() })).vaults.has('west'), false)
})

test('open alarms all stay, of those that are over only the newest', () => {
  const over = Array.from({ length: resolvedAlarmsMax + 9 }, (_, at) =>
    alarm(`o${at}`, { ended: String(at).padStart(4, '0') }),
  )
  const state = of(nothingYet, hello([], [...over, alarm('open')]))
  assert.equal(state.alarms.size, resolvedAlarmsMax + 1)
  assert.ok(state.alarms.has('open') && !state.alarms.has('o8') && state.alarms.has('o9'))
})

test('sources of one system at several vaults are one system, as bad as the worst and as late as the latest', () => {
  const good = { moment: '2026-11-20T00:00:00.000000Z', point: '', good: true, text: '' }
  const state = of(
    nothingYet,
    hello([entry('north'), entry('south')]),
    told('north', {
      kind: 'vault',
      vault: status(source('a', { system: 'payroll', verified: good }), source('alone', { state: 'paused' })),
    }),
    told('south', {
      kind: 'vault',
      vault: status(
        source('b', { system: 'payroll', state: 'stalled', lagMs: 9_000, verified: good }),
        source('ended', { state: 'retired' }),
      ),
    }),
  )
  const systems = systemsOf(state, nowMs)
  assert.deepEqual(
    systems.map(({ name, state: is, lagMs, bytesPerSecond, isUnproven }) => [
      name,
      is,
      lagMs,
      bytesPerSecond,
      isUnproven,
    ]),
    [
      ['payroll', 'stalled', 9_000, 10, false],
      ['alone', 'paused', 100, 5, true],
    ],
  )
  assert.deepEqual(countSystems(systems), { all: 2, protected: 0, late: 0, stalled: 1, underway: 1, unproven: 1 })
})
