import assert from 'node:assert/strict'
import { test } from 'node:test'
import { moment } from '../../model/moment.ts'
import type { NodeId } from './catalog-tree.ts'
import { dirtyKey, DirtySet, reason } from './dirty-set.ts'

const directory = 7 as NodeId
const at = moment

test('names come in the order in which they were first noticed, each once', () => {
  const dirty = new DirtySet()
  for (const name of ['b', 'a', 'b', 'c', 'a']) dirty.notice(directory, name, reason.content, at(1), 0)
  assert.deepEqual(
    [dirty.next(0)?.name, dirty.next(0)?.name, dirty.next(0)?.name, dirty.next(0)],
    ['b', 'a', 'c', undefined],
  )
})

test('a delayed name is due in time, and at once when it is noticed as closed', () => {
  const dirty = new DirtySet()
  dirty.notice(directory, 'open', reason.content, at(1), 100)
  dirty.notice(directory, 'closed', reason.content, at(2), 100)
  dirty.notice(directory, 'closed', reason.content, at(3), 0)
  assert.equal(dirty.next(50)?.name, 'closed')
  assert.equal(dirty.next(50), undefined)
  assert.equal(dirty.dueInMs(60), 40)
  assert.equal(dirty.next(100)?.name, 'open')
})

test('a name keeps the moment since which it is uncaptured, also when it is put back', () => {
  const dirty = new DirtySet()
  dirty.notice(directory, 'a', reason.content, at(5), 0)
  dirty.notice(directory, 'b', reason.content, at(6), 0)
  const taken = dirty.next(0)
  assert.ok(taken)
  dirty.notice(directory, 'a', reason.attributes, at(9), 0)
  dirty.putBack(taken, 50)
  assert.equal(dirty.oldest(), at(5))
  assert.equal(dirty.get(dirtyKey(directory, 'a'))?.reasons, reason.content | reason.attributes)
  dirty.hurry(at(5))
  assert.deepEqual([dirty.next(0)?.name, dirty.next(0)?.name], ['b', 'a'])
})

test('directories of which only the times changed come after the names, but are not kept out for ever', () => {
  const dirty = new DirtySet()
  dirty.noticeLast(directory, 'directory', reason.attributes, at(1))
  const served: string[] = []
  for (let count = 0; count < 300; count++) {
    dirty.notice(directory, String(count), reason.content, at(2), 0)
    served.push(dirty.next(0)?.name ?? '')
  }
  const place = served.indexOf('directory')
  assert.ok(place > 200 && place < 300, `it came after ${place}`)
})
