import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vaultStatus } from '../api/schemas.ts'
import { describe } from './status.ts'

test('damage of packs is told before anything else', () => {
  const message = 'packs/0000000000000001.pack is damaged at byte 4892: frame is not authentic'
  const status = vaultStatus.parse({
    id: '0'.repeat(32),
    name: 'north',
    version: '1.0.0',
    now: '2026-01-01T00:00:00.000000Z',
    stalled: false,
    freeBytes: 1e9,
    storedBytes: 1e6,
    damage: [message],
    sources: [],
  })
  assert.equal(describe(status).split('\n')[1], `DAMAGE: ${message}`)
})
