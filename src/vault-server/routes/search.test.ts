import assert from 'node:assert/strict'
import { test } from 'node:test'
import { filledVault } from '../../../test/support/filled-vault.ts'
import { start, write } from '../../../test/support/vault-world.ts'
import { isoMoment, moment } from '../../model/moment.ts'
import { fromUtf8, treePath } from '../../model/path.ts'

const at = (afterMs: number): string => isoMoment(moment(start + afterMs * 1000))

test('a file that was removed is found by a part of its name, and is read as it last was', async (t) => {
  const report = fromUtf8('srv/年度报表.xlsx')
  const vault = await filledVault(t, async ({ batch }) => {
    await batch(1000, [write(report, 0, Buffer.from('figures')), write('srv/notes', 0, Buffer.from('x'))])
    await batch(2000, [{ kind: 'remove', path: treePath(report) }])
    await batch(3000, [write(fromUtf8('srv/报表.txt'), 0, Buffer.from('y'))])
  })
  const search = (query: string): Promise<any[]> => vault.lines(`/v1/sources/docs/search?${query}`)
  const name = encodeURIComponent('报表')
  const [newer, found, end] = await search(`name=${name}`)
  assert.deepEqual([newer.path, newer.until], ['/srv/报表.txt', null])
  assert.deepEqual(found, {
    path: '/srv/年度报表.xlsx',
    type: 'file',
    since: at(1000),
    sinceSequence: 1,
    until: at(2000),
    untilSequence: 3,
    bytes: 7,
  })
  assert.deepEqual(end, { names: 4, next: null })
  const then = `at=seq:${found.untilSequence - 1}&path=${encodeURIComponent(found.path)}`
  assert.equal((await vault.ask(`/v1/sources/docs/content?${then}`)).body.toString(), 'figures')

  assert.deepEqual((await search(`name=${name}&gone=true`)).slice(0, -1), [found])
  const [one, more] = await search(`name=${name}&limit=1`)
  assert.equal(one.path, '/srv/报表.txt')
  const [two, last] = await search(`name=${name}&limit=1&cursor=${more.next}`)
  assert.deepEqual([two.path, last.next === null], ['/srv/年度报表.xlsx', false])
  const [rest] = await search(`name=${name}&limit=1&cursor=${last.next}`)
  assert.equal(rest.next, null)
  assert.deepEqual((await search('name=NOTES&path=/elsewhere'))[0].next, null)
  for (const bad of ['', 'name=', 'name=a%2Fb', 'name=a&cursor=x'])
    assert.equal((await vault.ask(`/v1/sources/docs/search?${bad}`)).status, 400, bad)
})
