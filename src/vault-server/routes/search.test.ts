import assert from 'node:assert/strict'
import { test } from 'node:test'
import { filledVault } from '../../../test/support/filled-vault.ts'
import { start, write } from '../../../test/support/vault-world.ts'
import { searchEnd, searchLine, searchRow, type SearchRow } from '../../api/around.ts'
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
  const search = async (query: string): Promise<{ rows: SearchRow[]; next: string | null; names: number }> => {
    const lines = await vault.lines(`/v1/sources/docs/search?${query}`, searchLine)
    const { next, names } = searchEnd.parse(lines.at(-1))
    return { rows: lines.slice(0, -1).map((line) => searchRow.parse(line)), next, names }
  }
  const name = encodeURIComponent('报表')
  const { rows, next, names } = await search(`name=${name}`)
  const [newer, found] = rows
  assert.deepEqual([newer?.path, newer?.until, next, names], ['/srv/报表.txt', null, null, 4])
  assert.deepEqual(found, {
    path: '/srv/年度报表.xlsx',
    type: 'file',
    since: at(1000),
    sinceSequence: 1,
    until: at(2000),
    untilSequence: 3,
    bytes: 7,
  })
  const then = `at=seq:${(found.untilSequence ?? 0) - 1}&path=${encodeURIComponent(found.path)}`
  assert.equal((await vault.ask(`/v1/sources/docs/content?${then}`)).body.toString(), 'figures')

  assert.deepEqual((await search(`name=${name}&gone=true`)).rows, [found])
  const first = await search(`name=${name}&limit=1`)
  const second = await search(`name=${name}&limit=1&cursor=${first.next}`)
  const third = await search(`name=${name}&limit=1&cursor=${second.next}`)
  assert.deepEqual([...first.rows, ...second.rows, ...third.rows], rows)
  assert.equal(third.next, null)
  assert.deepEqual((await search('name=NOTES&path=/elsewhere')).rows, [])
  for (const bad of ['', 'name=', 'name=a%2Fb', 'name=a&cursor=x'])
    assert.equal((await vault.ask(`/v1/sources/docs/search?${bad}`)).status, 400, bad)
})
