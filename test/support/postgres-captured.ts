import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { CommitListReader } from '../../src/format/commits.ts'
import { advanceLsn, type Lsn, noLsn, parseLsn, parseWalSegmentName } from '../../src/model/lsn.ts'
import type { FileTree, PostgresCaptureDriver } from './postgres-capture-driver.ts'
import { lackingPostgres } from './postgres-program.ts'
import { Cluster, type Settings } from './postgres.ts'
import { until } from './until.ts'

const major = 17
export const segment = 1024 * 1024
/** Clusters whose log comes in small segments. */
export const small = { major, initdbArgs: ['--wal-segsize=1'] } as const
export const onMain = { skip: lackingPostgres(major) }

/** But for what is told of every server of these tests. */
export const problemsOf = (driver: PostgresCaptureDriver): string[] =>
  (driver.report?.problems ?? []).map(({ code }) => code).filter((code) => code !== 'fsync' && code !== 'wal-kept')

/** A server on the newest baseline of the tree, with all its WAL. */
export async function startedOn(t: TestContext, tree: FileTree, settings: Settings = {}): Promise<Cluster> {
  const [newest] = tree.paths.filter((path) => /^base\/\d+\/data\/PG_VERSION$/.test(path)).slice(-1)
  assert.ok(newest, tree.paths.slice(0, 20).join(' '))
  const restored = await Cluster.from(t, major, (data) => {
    tree.writeTo(data, newest.replace(/\/PG_VERSION$/, ''))
    writeFileSync(join(data, 'recovery.signal'), '')
    mkdirSync(join(data, 'archive'))
    for (const path of tree.paths.filter((one) => one.startsWith('wal/'))) {
      const content = tree.content(path)
      const isSegment = !path.endsWith('.history')
      const whole = isSegment ? Buffer.concat([content, Buffer.alloc(segment - content.length)]) : content
      writeFileSync(join(data, 'archive', path.slice(4)), whole)
    }
  })
  restored.configure({ restore_command: 'cp archive/%f %p', hot_standby: true, ...settings })
  await restored.start()
  await until(
    () => `recovery ends; ${restored.log.slice(-2000)}`,
    async () => (await restored.sql('SELECT pg_is_in_recovery()'))[0]?.[0] === 'f',
  )
  return restored
}

/** The tree, once all that the server has flushed now is told as covered. The server may write more at any time. */
export async function coveredAsAtServer(cluster: Cluster, driver: PostgresCaptureDriver, on = ''): Promise<FileTree> {
  const folder = join(cluster.data, 'pg_wal')
  const [[end] = []] = await cluster.sql('SELECT pg_current_wal_flush_lsn()')
  await driver.covered()
  const tree = driver.tree()
  const names = segmentsIn(tree)
  const atServer = new Set(readdirSync(folder))
  for (const name of names.filter((one) => atServer.has(one) && one.startsWith(on))) {
    const content = tree.content(`wal/${name}`)
    assert.ok(content.equals(readFileSync(join(folder, name)).subarray(0, content.length)), name)
    const isNewest = names.findLast((one) => one.startsWith(name.slice(0, 8))) === name
    assert.ok(isNewest || content.length === segment, `${name} is whole`)
  }
  assert.ok(names.at(-1)?.startsWith(on) && positionOf(tree) >= parseLsn(end ?? ''), `${names.at(-1)} ${end}`)
  return tree
}

export const segmentsIn = (tree: FileTree): string[] =>
  tree.paths.filter((path) => /^wal\/[0-9A-F]{24}$/.test(path)).map((path) => path.slice(4))

/** Where the next byte of WAL goes. */
export function positionOf(tree: FileTree): Lsn {
  const newest = segmentsIn(tree).at(-1)
  if (newest === undefined) return noLsn
  return advanceLsn(parseWalSegmentName(newest, segment).start, tree.content(`wal/${newest}`).length)
}

export function commitsIn(tree: FileTree, on = ''): { xid: number; start: number; end: number }[] {
  return tree.paths
    .filter((path) => path.startsWith(`commits/${on}`))
    .flatMap((path) => [...new CommitListReader(tree.content(path))])
    .flatMap((entry) => (entry.kind === 'commit' ? [entry] : []))
}
