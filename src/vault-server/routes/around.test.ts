import assert from 'node:assert/strict'
import { test } from 'node:test'
import { filledVault } from '../../../test/support/filled-vault.ts'
import { attributes, start, write } from '../../../test/support/vault-world.ts'
import { aroundAnswer, transactionsAnswer } from '../../api/around.ts'
import { CommitListWriter, type CommitListEntry } from '../../format/commits.ts'
import { baselinesPath, encodeBaseline } from '../../format/postgres-tree.ts'
import type { Change } from '../../model/change.ts'
import { lsn, timeline, walSegmentName } from '../../model/lsn.ts'
import { isoMoment, moment } from '../../model/moment.ts'
import { type BinaryString, fromBuffer, treePath } from '../../model/path.ts'

const at = (afterMs: number): string => isoMoment(moment(start + afterMs * 1000))
const around = (point: string, limit = 10): string =>
  `/v1/sources/docs/around?at=${encodeURIComponent(point)}&limit=${limit}`
const told = (rows: { event: string; path: string }[]): string[] => rows.map(({ event, path }) => `${event} ${path}`)
const folder = (path: string): Change => ({
  kind: 'put',
  path: treePath(path),
  attributes,
  content: { type: 'directory' },
})
const remove = (path: string): Change => ({ kind: 'remove', path: treePath(path) })
const mark = (label: string): Change => ({ kind: 'mark', mark: { type: 'user', label } })

test('around a moment stand the files that changed just before and just after it, and the marks', async (t) => {
  const odd = fromBuffer(Buffer.from([0x73, 0x2f, 0xff, 0xfe]))
  const vault = await filledVault(t, async ({ batch }) => {
    await batch(1000, [folder('s'), write('s/a', 0, Buffer.from('one'))])
    await batch(2000, [write('s/b', 0, Buffer.from('two')), mark('first')])
    await batch(3000, [write('s/a', 0, Buffer.from('three'))])
    await batch(4000, [remove('s/b')])
    await batch(5000, [{ kind: 'rename', path: treePath('s/c'), from: treePath('s/a') }, mark('second')])
    await batch(6000, [write(odd, 0, Buffer.from('x'))])
  })
  const middle = await vault.json(around(at(3500)), aroundAnswer)
  assert.deepEqual([middle.sequence, middle.moment, middle.settled], [5, at(3000), true])
  assert.deepEqual(told(middle.filesBefore), ['version /s/a', 'version /s/b', 'version /s/a', 'version /s'])
  assert.deepEqual(
    middle.filesBefore.map((row) => [row.moment, row.bytes]),
    [
      [at(3000), 5],
      [at(2000), 3],
      [at(1000), 3],
      [at(1000), 0],
    ],
  )
  assert.deepEqual(told(middle.filesAfter).slice(0, 1), ['removed /s/b'])
  assert.deepEqual(told(middle.filesAfter).slice(1, 3).sort(), ['removed /s/a', 'version /s/c'])
  assert.equal(middle.filesAfter[3]?.pathBytes, Buffer.from(odd as BinaryString, 'latin1').toString('base64'))
  assert.deepEqual(
    [middle.marksBefore, middle.marksAfter].map(([one]) => [one?.label, one?.moment]),
    [
      ['first', at(2000)],
      ['second', at(5000)],
    ],
  )
  assert.deepEqual(told((await vault.json(around(at(3500), 1), aroundAnswer)).filesBefore), ['version /s/a'])
  assert.deepEqual(told((await vault.json(around('seq:1'), aroundAnswer)).filesBefore), ['version /s'])
  assert.equal((await vault.ask(around(at(10)))).status, 404)
  assert.equal((await vault.ask('/v1/sources/docs/transactions')).status, 400)
})

test('of a volume the flushes on either side are told', async (t) => {
  const flush: Change = { kind: 'mark', mark: { type: 'flush' } }
  const vault = await filledVault(
    t,
    async ({ batch }) => {
      await batch(1000, [write('disk', 0, Buffer.alloc(512, 1)), flush])
      await batch(2000, [write('disk', 512, Buffer.alloc(512, 2))])
      await batch(3000, [flush, write('disk', 0, Buffer.alloc(512, 3))])
    },
    'volume',
  )
  const { flushBefore, flushAfter, filesBefore } = await vault.json(around(at(2000)), aroundAnswer)
  assert.deepEqual(
    [flushBefore, flushAfter, filesBefore],
    [{ sequence: 2, moment: at(1000) }, { sequence: 4, moment: at(3000) }, []],
  )
  const last = await vault.json(around('latest'), aroundAnswer)
  assert.deepEqual([last.flushBefore?.sequence, last.flushAfter], [4, null])
})

test('of PostgreSQL the transactions around a moment are told, with the points to go to', async (t) => {
  const segmentBytes = 16 * 1024 * 1024
  const header = {
    major: 17,
    systemIdentifier: 9n,
    timeline: timeline(1),
    segmentBytes,
    segmentStart: lsn(segmentBytes),
  }
  const name = walSegmentName(header.timeline, header.segmentStart, segmentBytes)
  const lists = new CommitListWriter(header)
  const list = (change: number, xid: number): Change => {
    const entry: CommitListEntry = {
      kind: 'commit',
      start: lsn(segmentBytes + 1000 * change),
      end: lsn(segmentBytes + 1000 * change + 60),
      xid,
      database: 5,
      subtransactions: 0,
      time: moment(start + change * 1_000_000),
    }
    const from = lists.length
    return write(`commits/${name}`, from, lists.append([entry]))
  }
  const baseline = encodeBaseline({
    number: 1,
    sequence: 1,
    systemId: '9',
    timeline: 1,
    start: segmentBytes,
    end: segmentBytes,
    version: 170_010,
    segmentBytes,
    files: 1,
    bytes: 1,
    tablespaces: [],
    properties: {},
  })
  const vault = await filledVault(
    t,
    async ({ batch }) => {
      await batch(100, [write(`wal/${name}`, 0, Buffer.from('log'))])
      await batch(500, [write(baselinesPath, 0, baseline)])
      await batch(1010, [list(1, 701)])
      await batch(2010, [list(2, 702)])
      await batch(3010, [list(3, 703)])
    },
    'postgres',
  )
  const { transactionsBefore, transactionsAfter, moment: when } = await vault.json(around(at(2500)), aroundAnswer)
  assert.deepEqual(transactionsBefore[0], {
    kind: 'commit',
    moment: at(2000),
    xid: 702,
    lsn: '0/10007D0',
    end: '0/100080C',
    timeline: 1,
    database: '5',
    subtransactions: 0,
    bytes: 1000,
    at: 'lsn:0/10007D0',
    before: 'before:lsn:0/10007D0',
  })
  assert.deepEqual([transactionsAfter[0]?.xid, when], [703, at(2010)])
  const named = await vault.json(around('before:xid:702'), aroundAnswer)
  assert.deepEqual([named.transactionsBefore[0]?.xid, named.transactionsAfter[0]?.xid], [701, 702])
  const early = await vault.json(around(at(200)), aroundAnswer)
  assert.deepEqual([early.transactionsBefore, early.transactionsAfter[0]?.xid], [[], 701])
  assert.match((await vault.json(around('seq:1'), aroundAnswer)).transactionsMissing ?? '', /no baseline/)
  assert.equal((await vault.ask(around('xid:9'))).status, 404)

  const page = await vault.json('/v1/sources/docs/transactions?limit=2', transactionsAnswer)
  assert.deepEqual([page.transactions.map(({ xid }) => xid), page.more], [[703, 702], true])
  const rest = await vault.json(
    `/v1/sources/docs/transactions?limit=2&to=${page.transactions[1]?.before}`,
    transactionsAnswer,
  )
  assert.deepEqual([rest.transactions.map(({ xid }) => xid), rest.more], [[701], false])
  const span = `from=${encodeURIComponent(at(1500))}&to=${encodeURIComponent(at(3000))}&order=oldest`
  const within = await vault.json(`/v1/sources/docs/transactions?${span}`, transactionsAnswer)
  assert.deepEqual(
    within.transactions.map(({ xid }) => xid),
    [702, 703],
  )
})
