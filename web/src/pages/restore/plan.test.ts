import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PlacedSource } from '../../live/systems.ts'
import { canBeInPlace, isPlaced, ordersOf, type Plan } from './plan.ts'

const placed = (vault: string, name: string, kind: 'files' | 'postgres'): PlacedSource =>
  ({
    vault: { id: vault, name: vault },
    source: { id: `${name}-id`, name, kind, earliest: 'then', agent: { id: `${name}-agent` } },
  }) as unknown as PlacedSource
const documents = placed('near', 'documents', 'files')
const database = placed('near', 'database', 'postgres')
const far = placed('far', 'archive', 'files')
const plan: Plan = {
  system: 'office',
  source: undefined,
  paths: [],
  at: '2026-11-23T06:00:00.000000Z',
  agent: 'spare',
  to: '/srv/back',
  isInPlace: false,
  typedName: '',
  start: false,
}

test('a system is one task in each vault that holds sources of it, and each source has a directory of its own', () => {
  const orders = ordersOf(plan, [documents, database, far], 'restore')
  assert.deepEqual(
    orders.map(({ vault, body }) => [vault, body.system, body.source, body.agent, body.to]),
    [
      ['near', 'office', undefined, 'spare', '/srv/back'],
      ['far', undefined, 'archive-id', 'spare', '/srv/back/archive'],
    ],
  )
})

test('the original place is that of its own server, of files alone, and only with its name typed', () => {
  const inPlace = { ...plan, source: 'near/documents-id', isInPlace: true, typedName: 'document' }
  assert.equal(isPlaced(inPlace, [documents]), false)
  assert.equal(isPlaced({ ...inPlace, typedName: 'documents' }, [documents]), true)
  assert.equal(isPlaced({ ...inPlace, typedName: 'database' }, [database]), false)
  assert.equal(canBeInPlace([documents, database]), false)
  const [order] = ordersOf({ ...inPlace, typedName: 'documents' }, [documents], 'restore')
  assert.deepEqual([order?.body.agent, order?.body.to, order?.body.inPlace], ['documents-agent', '/', 'documents'])
})

test('another place needs a server and an absolute directory that is not the root', () => {
  assert.equal(isPlaced(plan, [documents]), true)
  for (const to of ['', '/', 'back']) assert.equal(isPlaced({ ...plan, to }, [documents]), false, to)
  assert.equal(isPlaced({ ...plan, agent: undefined }, [documents]), false)
})
