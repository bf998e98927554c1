import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sourceRequest } from '../../../src/api/schemas.ts'
import { type Choice, defaultFields, namePattern, proposedName, requestOf } from './protect-plan.ts'

const choices: readonly Choice[] = [
  { kind: 'files', paths: ['/srv/数据 2', '/etc'] },
  { kind: 'postgres', url: 'postgres://postgres@localhost:5432/postgres' },
  { kind: 'volume', backing: '/dev/vg0/data' },
]

test('whatever is chosen becomes a request that the vault takes, with a proposed name that it takes too', () => {
  for (const choice of choices) {
    const name = proposedName(choice, 'srv-1')
    assert.match(name, namePattern)
    const asked = sourceRequest.parse(requestOf(choice, { ...defaultFields, name, system: '' }, 'srv-1'))
    assert.equal(asked.kind, choice.kind)
    assert.equal(asked.system, undefined)
  }
  assert.equal(proposedName({ kind: 'files', paths: ['/'] }, 'srv-1'), 'srv-1-root')
})

test('zero loss is asked for only where it is wanted, and without an end where there is to be none', () => {
  const choice = choices[1]!
  const asked = (isZeroLoss: boolean, degradeMs: number | null) =>
    requestOf(choice, { ...defaultFields, name: 'a', isZeroLoss, degradeMs }, 'x').postgres?.zeroLoss
  assert.equal(asked(false, 5_000), undefined)
  assert.deepEqual(asked(true, 5_000), { degradeMs: 5_000 })
  assert.deepEqual(asked(true, null), {})
})
