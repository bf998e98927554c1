import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PostgresCaptureDriver, type FileTree } from '../../../test/support/postgres-capture-driver.ts'
import { Cluster } from '../../../test/support/postgres.ts'
import { lackingPostgres } from '../../../test/support/postgres-program.ts'
import { CommitListReader } from '../../format/commits.ts'
import { parseLsn } from '../../model/lsn.ts'

const major = 17
const segment = 1024 * 1024
const small = { major, initdbArgs: ['--wal-segsize=1'] } as const
const onMain = { skip: lackingPostgres(major) }

test('the log comes into the journal as it is in the server, and the lists hold every commit', onMain, async (t) => {
  const cluster = await Cluster.create(t, small)
  await using driver = new PostgresCaptureDriver(cluster.url)
  await driver.open()
  await driver.live()
  await cluster.sql('CREATE TABLE t (n int, x xid8 DEFAULT pg_current_xact_id(), filling text)')
  for (let n = 0; n < 50; n++) await cluster.sql(`INSERT INTO t VALUES (${n}, DEFAULT, repeat(md5('${n}'), 2000))`)
  await driver.covered()
  const tree = driver.tree()
  await assertAsAtServer(cluster, tree)
  const listed = commitsIn(tree).map(({ xid }) => xid)
  const committed = (await cluster.sql('SELECT x FROM t ORDER BY n')).map(([xid]) => Number(xid))
  assert.deepEqual(
    listed.filter((xid) => committed.includes(xid)),
    committed,
  )
})

export async function assertAsAtServer(cluster: Cluster, tree: FileTree): Promise<void> {
  const folder = join(cluster.data, 'pg_wal')
  const [[end] = []] = await cluster.sql('SELECT pg_current_wal_flush_lsn()')
  const names = tree.paths.filter((path) => /^wal\/[0-9A-F]{24}$/.test(path)).map((path) => path.slice(4))
  assert.ok(names.length > 0)
  const atServer = new Set(readdirSync(folder))
  for (const name of names.filter((one) => atServer.has(one))) {
    const content = tree.content(`wal/${name}`)
    assert.ok(content.equals(readFileSync(join(folder, name)).subarray(0, content.length)), name)
    assert.ok(name === names.at(-1) || content.length === segment, `${name} is whole`)
  }
  const last = tree.content(`wal/${names.at(-1)}`).length
  assert.equal(last % segment, parseLsn(end ?? '') % segment)
}

export function commitsIn(tree: FileTree): { xid: number; start: number; end: number }[] {
  return tree.paths
    .filter((path) => path.startsWith('commits/'))
    .flatMap((path) => [...new CommitListReader(tree.content(path))])
    .flatMap((entry) => (entry.kind === 'commit' ? [entry] : []))
}
