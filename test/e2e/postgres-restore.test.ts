import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { lackingPostgres, postgresFolder } from '../support/postgres-program.ts'
import { Cluster } from '../support/postgres.ts'
import { askRestored, stopRestored } from '../support/postgres-restored.ts'
import { command, waitFor, World } from './harness.ts'

const major = 17

interface Line {
  readonly xid?: number
  readonly kind: string
  readonly name?: string
}

test(
  'a PostgreSQL server is protected, and brought back to a transaction, a moment, a restore point, its latest; and verified',
  { skip: lackingPostgres(major), timeout: 900_000 },
  async (t) => {
    const cluster = await Cluster.create(t, {
      major,
      initdbArgs: ['--data-checksums'],
      settings: { wal_level: 'replica', max_wal_senders: 10, max_replication_slots: 10, max_prepared_transactions: 5 },
    })
    await cluster.sql('create table orders (n int primary key)')
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    // The user of the restored server has to come to it.
    chmodSync(world.folder, 0o755)
    await world.atVault('protect', 'postgres', cluster.url, '--name', 'shop', '--on', 'server')
    await world.until('shop', 'protected', ({ state }) => state === 'protected')

    const xids: number[] = []
    for (let n = 1; n <= 20; n++) {
      const [row] = await cluster.sql(`insert into orders values (${n}) returning txid_current()`)
      xids.push(Number(row?.[0]))
      if (n === 10) await cluster.sql("select pg_create_restore_point('ten')")
    }
    const lines = await untilListed(world, 'shop', xids.at(-1) as number)
    assert.ok(lines.some(({ kind, name }) => kind === 'restore-point' && name === 'ten'))

    const bin = join(postgresFolder(major), 'bin')
    const back = async (point: string, ...more: string[]): Promise<string[]> => {
      const to = join(world.folder, `back-${point.replaceAll(/\W/g, '-')}`)
      const { out } = await world.restore('shop', point, to, '--start', '--pg-bin', bin, '--json', ...more)
      const receipt = JSON.parse(out.trim().split('\n').at(-1) as string).receipt
      t.after(() => stopRestored(to))
      const rows = await askRestored(receipt.server, 'select n from orders order by n')
      await stopRestored(to)
      return rows.map(([n]) => String(n))
    }
    const upTo = (last: number): string[] => Array.from({ length: last }, (_, n) => String(n + 1))
    assert.deepEqual(await back(`before:xid:${xids[6]}`), upTo(6))
    assert.deepEqual(await back(`xid:${xids[6]}`), upTo(7))
    assert.deepEqual(await back('restore-point:ten', '--stop-at-pause'), upTo(10))
    assert.deepEqual(await back('latest'), upTo(20))

    const alone = join(world.folder, 'alone')
    const told = await world.restore('shop', `xid:${xids[2]}`, alone)
    assert.match(told.out, /17 commits are left out/)
    assert.ok(existsSync(join(alone, 'tidemark/wal/complete')) || process.getuid?.() !== 0)

    // The way of a server that somebody starts later: the script asks the vault, and fetches ahead.
    const later = join(world.folder, 'later')
    await world.restore('shop', 'latest', later, '--wal', 'on-demand')
    const first = /START WAL LOCATION: \S+ \(file (\w+)\)/.exec(readFileSync(join(later, 'backup_label'), 'utf8'))?.[1]
    const asking = (name: string): number | null =>
      spawnSync('sh', ['tidemark/restore-command', name, 'pg_wal/came'], { cwd: later, stdio: 'ignore' }).status
    assert.equal(asking(String(first)), 0)
    assert.equal(statSync(join(later, 'pg_wal/came')).size, 16 * 1024 * 1024)
    assert.equal(asking('0000000100000009000000AA'), 1)
    assert.equal(asking('00000002.history'), 1)

    const verified = await world.atVault(
      'verify',
      'shop',
      '--pg-bin',
      bin,
      '--query',
      'select count(*) = 20 from orders',
    )
    assert.match(verified.out, /the point is recoverable/)
    assert.match(verified.out, /marked at seq:\d+: verified/)
    const wrong = await command([
      '--vault',
      world.vaultFolder,
      'verify',
      'shop',
      '--pg-bin',
      bin,
      '--query',
      'select count(*) = 21 from orders',
    ])
    assert.equal(wrong.status, 4)
    // Without the vault recovery must stop, not end.
    await world.vault.stop()
    assert.equal(asking('00000001000000090000000B'), 126)
  },
)

async function untilListed(world: World, name: string, xid: number): Promise<Line[]> {
  const list = async (): Promise<Line[]> => {
    const { out } = await world.atVault('transactions', name, '--limit', '1000', '--json')
    return out
      .trim()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line)
  }
  return await waitFor(`${name}: xid ${xid} listed`, list, (lines) => lines.some((line) => line.xid === xid))
}
