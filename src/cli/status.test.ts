import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vaultStatus } from '../api/schemas.ts'
import { describe } from './status.ts'

const now = '2026-01-03T02:20:00.000000Z'
const head = {
  id: '0'.repeat(32),
  name: 'north',
  version: '1.0.0',
  now,
  stalled: false,
  freeBytes: 1e9,
  storedBytes: 1e6,
  damage: [],
}

test('damage of packs is told before anything else', () => {
  const message = 'packs/0000000000000001.pack is damaged at byte 4892: frame is not authentic'
  const status = vaultStatus.parse({ ...head, damage: [message], sources: [] })
  assert.equal(describe(status).split('\n')[1], `DAMAGE: ${message}`)
})

test('a source tells when it was verified last, and whether that ended well', () => {
  const source = {
    id: '1'.repeat(32),
    name: 'documents',
    kind: 'files',
    agent: { id: '2'.repeat(32), name: 'server', connected: true },
    paths: ['/srv'],
    exclude: [],
    policy: { windowMs: 60_000, reconcileMs: 60_000, lagMsMax: 1_000 },
    state: 'protected',
    lagMs: 20,
    lagBytes: 0,
    dirty: 0,
    sequence: 1,
    moment: null,
    covered: null,
    indexed: 1,
    earliest: null,
    changesPerSecond: 0,
    bytesPerSecond: 0,
    watching: 'fanotify',
    problems: [],
    hole: null,
  }
  const verified = {
    moment: '2026-01-03T00:15:00.000000Z',
    point: now,
    good: true,
    text: 'every byte of 1 files read back',
  }
  const rows = [null, verified, { ...verified, good: false }]
  const status = vaultStatus.parse({ ...head, sources: rows.map((one) => ({ ...source, verified: one })) })
  const told = describe(status).split('\n').slice(2, 5)
  assert.deepEqual(
    told.map((line) => /1 {2}(-|.* ago)$/.exec(line)?.[1]),
    ['-', '2 h ago', 'WRONG 2 h ago'],
  )
})
