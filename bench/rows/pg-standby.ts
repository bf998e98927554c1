import { join } from 'node:path'
import { parseLsn } from '../../src/model/lsn.ts'
import { until } from '../command.ts'
import { Place } from '../place.ts'
import { Cluster, killServerOf, openFolder, openSession, urlOf } from '../postgres/cluster.ts'
import { fill, underLoad, writeWal } from '../postgres/load.ts'
import { ours } from '../record.ts'
import type { Assignment, Row } from '../row.ts'
import { Tidemark } from '../tidemark.ts'

const row = 'pg-standby'

export const pgStandby: Row = {
  name: row,
  title: 'PostgreSQL: from the death of the primary until the standby takes writes',
  measure,
}

const mebibyte = 1024 * 1024
const port = 5441

interface Promotion {
  readonly replayMs: number
  readonly promoteMs: number
  readonly writeMs: number
  readonly socketFolder: string
  readonly port: number
}

/** The primary is killed under load, while commits wait for the vault: none of them may be missing. */
async function measure(assignment: Assignment): Promise<void> {
  const { record, runs, isQuick, tell, profileDirectory } = assignment
  for (let count = 0; count < runs; count++) {
    using place = new Place(row)
    await using cluster = await Cluster.create(place.directory, 'primary')
    await fill(cluster, (isQuick ? 100 : 1024) * mebibyte)
    await using tidemark = await Tidemark.start(join(place.directory, 'tidemark'), { profileDirectory })
    await tidemark.protectPostgres('cluster', cluster.url, { zeroLoss: true })
    await until('commits to wait', async () => (await cluster.value('SHOW synchronous_standby_names')) !== '')
    const data = join(openFolder(place.directory, 'standby'), 'data')
    const words = ['standby', 'cluster', '--to', data, '--port', String(port)]
    await using standby = tidemark.service([...words, '--json'])
    const { end } = await writeWal(cluster, (isQuick ? 30 : 300) * mebibyte)
    await until('the standby to have caught up', () => {
      standby.assertRunning()
      return replayedBy(standby.said) >= end
    })
    try {
      await using load = await underLoad(cluster, 8)
      await load.untilBusy(isQuick ? 3 : 10)
      const acknowledged = await load.acknowledged()
      const began = performance.now()
      await cluster.kill()
      const { output } = await tidemark.command([...words, '--promote', '--json'])
      const answeredMs = performance.now() - began
      const { promotion } = JSON.parse(output.trim().split('\n').at(-1) ?? '') as { promotion: Promotion }
      await using session = await openSession(urlOf(promotion.socketFolder, promotion.port))
      await session.query('CREATE TABLE taken_over (at timestamptz)')
      const wroteMs = performance.now() - began
      const [found] = (await session.query('SELECT count(*) FROM pgbench_history')).at(-1)?.rows ?? []
      if (Number(found?.[0]) < acknowledged)
        throw new Error(`${found?.[0]} of ${acknowledged} acknowledged transactions are on the standby`)
      tell(
        `killed, promoted and written to in ${wroteMs.toFixed(0)} ms: the command ${answeredMs.toFixed(0)} ms, of it replay ${promotion.replayMs.toFixed(0)} ms, ` +
          `promoted after ${promotion.promoteMs.toFixed(0)} ms`,
      )
      record.add({ row, what: 'kill of the primary until the standby has taken a write', unit: 'ms' }, ours, wroteMs)
      record.add({ row, what: 'asked to promote: all of the log replayed', unit: 'ms' }, ours, promotion.replayMs)
      record.add({ row, what: 'asked to promote: promoted', unit: 'ms' }, ours, promotion.promoteMs)
      record.add({ row, what: 'asked to promote: a write accepted', unit: 'ms' }, ours, promotion.writeMs)
    } finally {
      await killServerOf(data)
    }
  }
}

/** As it last said; 0 before. */
function replayedBy(said: string): number {
  const told = [...said.matchAll(/"replayed":"([0-9A-F]+\/[0-9A-F]+)"/g)].at(-1)?.[1]
  return told === undefined ? 0 : parseLsn(told)
}
