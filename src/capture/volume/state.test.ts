import assert from 'node:assert/strict'
import { test } from 'node:test'
import { moment } from '../../model/moment.ts'
import type { Place } from './cursor.ts'
import type { VolumeFacts } from './server-link.ts'
import { takingUp } from './state.ts'

const placeAt = (epoch: number, number: number): Place => ({
  epoch,
  number,
  bytes: 1024 * 1024,
  suspect: undefined,
  copy: undefined,
  compared: moment(0),
  recorded: moment(0),
  awaySince: moment(0),
})

const factsOf = (epoch: number, first: number, acknowledged: VolumeFacts['acknowledged']): VolumeFacts => ({
  kind: 'volume',
  epoch,
  bytes: 1024 * 1024,
  regionBytes: 64 * 1024,
  first,
  acknowledged,
  software: 'test',
})

test('a journal goes on within one epoch, lacks what another one gave up, and is in doubt where the log knows less than it', () => {
  const facts = factsOf(5, 11, { epoch: 5, number: 20 })
  assert.equal(takingUp(placeAt(5, 20), facts, 30), 'goes-on')
  assert.equal(takingUp(placeAt(5, 30), facts, 30), 'goes-on')
  assert.equal(takingUp(placeAt(5, 19), facts, 30), 'all-in-doubt', 'an older copy of the journal')
  assert.equal(takingUp(placeAt(5, 31), facts, 30), 'all-in-doubt', 'the log has less')
  const later = factsOf(6, 26, { epoch: 5, number: 20 })
  assert.equal(takingUp(placeAt(5, 22), later, 30), 'gap')
  assert.equal(takingUp(placeAt(5, 19), later, 30), 'all-in-doubt')
})

test('a log of an epoch before that of the journal is an older one, whatever its numbers are', () => {
  assert.equal(takingUp(placeAt(6, 25), factsOf(5, 11, { epoch: 5, number: 20 }), 30), 'all-in-doubt')
})
