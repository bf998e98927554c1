import assert from 'node:assert/strict'
import { test } from 'node:test'
import { indexKey } from '../../../test/oracle/judge.ts'
import { MemoryJournal } from '../../../test/oracle/memory-journal.ts'
import { systemClock } from '../../base/clock.ts'
import type { Change } from '../../model/change.ts'
import { moment } from '../../model/moment.ts'
import type { TreePath } from '../../model/path.ts'
import { sequence } from '../../model/sequence.ts'
import { Indexer } from '../index/indexer.ts'
import { memoryLocation } from '../index/schema.ts'
import { pruneBefore } from './pruning.ts'

const disk = 'image' as TreePath
const blockBytes = 512
const blocks = 50

async function indexed(changes: readonly Change[]): Promise<Indexer> {
  const journal = new MemoryJournal()
  for (let at = 0; at < changes.length; at += 100) {
    journal.append(changes.slice(at, at + 100).map((change) => ({ moment: moment(1_000 + at), change })))
  }
  const indexer = new Indexer({ location: memoryLocation, indexKey, journal, clock: systemClock })
  indexer.durable(journal.last)
  await indexer.reached(journal.last)
  return indexer
}

const counted = (indexer: Indexer, sql: string): Promise<number> =>
  indexer.exclusively(
    (index) => (index.database.prepare(`SELECT count(*) AS count FROM ${sql}`).get() as { count: number }).count,
  )

const write = (at: number): Change => ({
  kind: 'write',
  path: disk,
  at: (at % blocks) * blockBytes,
  data: Buffer.alloc(blockBytes, at),
})

test('what was written over a volume, and its flushes, go from the index when they have left the window', async () => {
  const count = 9_000
  await using indexer = await indexed(
    Array.from({ length: count }, (_, at) => (at % 3 === 2 ? { kind: 'mark', mark: { type: 'flush' } } : write(at))),
  )
  assert.equal(await counted(indexer, 'flush'), count / 3)
  const at = sequence(8_900)
  await indexer.exclusively((index) => index.keepFrom(at, moment(9_900)))
  await pruneBefore(indexer, at, moment(9_900))
  assert.equal(await counted(indexer, `flush WHERE sequence <= ${at}`), 0)
  assert.equal(await counted(indexer, 'flush'), 34)
  assert.equal(await counted(indexer, `extent WHERE until <= ${at}`), 0)
  assert.equal(await counted(indexer, `extent WHERE since <= ${at} AND until > ${at}`), blocks)
  assert.equal(await counted(indexer, `version WHERE since <= ${at}`), 1)
})

test('no transaction of it is long: a file of very many parts that was removed goes a part at a time', async () => {
  const parts = 7_000
  const put: Change = {
    kind: 'patch',
    path: disk,
    attributes: { mode: 0o600, uid: 0, gid: 0, modifiedNs: 0n, xattrs: [] },
    bytes: parts * 2,
    extents: Array.from({ length: parts }, (_, at) => ({ at: at * 2, bytes: 1, data: Buffer.from([at]) })),
    zeros: [],
  }
  await using indexer = await indexed([
    write(0),
    put,
    { kind: 'remove', path: disk },
    { kind: 'write', path: disk, at: 0, data: Buffer.of(1) },
  ])
  /** Extents left, as other work sees it between two transactions. */
  const seen: number[] = []
  const pruning = pruneBefore(indexer, sequence(4), moment(1_000))
  const state = { isOver: false }
  const over = (): void => void (state.isOver = true)
  pruning.then(over, over)
  while (!state.isOver) seen.push(await counted(indexer, 'extent'))
  await pruning
  assert.ok(new Set(seen).size > 3, `other work came in between: ${seen}`)
  assert.equal(await counted(indexer, 'extent'), 1, 'the new file')
  assert.equal(await counted(indexer, 'version'), 1)
  assert.equal(await counted(indexer, 'entry'), 1)
})
