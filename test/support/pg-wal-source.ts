import { existsSync, openSync, readFileSync, readSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { identifySystem, show, walSegmentBytes } from '../../src/capture/postgres/protocol/replication.ts'
import {
  advanceLsn,
  historyFileName,
  lsn,
  type Lsn,
  type Timeline,
  walSegmentName,
  walSegmentStart,
} from '../../src/model/lsn.ts'
import { forksToNewest, segmentGone, type WalSource } from '../../src/recover/postgres/walsender/wal-source.ts'
import type { Cluster } from './postgres.ts'

const pollMs = 5

/** The WAL of a running cluster, read from its pg_wal as far as the server says it is flushed. */
export async function pgWalSource(t: TestContext, cluster: Cluster): Promise<WalSource> {
  const folder = join(cluster.data, 'pg_wal')
  const ended = new AbortController()
  let connection = await cluster.connect('replication')
  const version = Number(await show(connection, 'server_version_num'))
  const segmentBytes = await walSegmentBytes(connection)
  let identity = await identifySystem(connection)
  const watching = (async () => {
    while (!ended.signal.aborted) {
      try {
        await systemClock.sleep(pollMs, ended.signal)
        identity = await identifySystem(connection)
      } catch {
        // The server is away, or this is the end; what it had flushed stays.
        await connection[Symbol.asyncDispose]()
        if (ended.signal.aborted) return
        connection = await cluster.connect('replication').catch(() => connection)
      }
    }
  })()
  t.after(async () => {
    ended.abort()
    await watching
    await connection[Symbol.asyncDispose]()
  })

  const source: WalSource = {
    systemId: identity.systemId,
    version,
    segmentBytes,
    newest: () => ({ timeline: identity.timeline, end: identity.flushed }),
    history: async (of) => {
      const path = join(folder, historyFileName(of))
      return existsSync(path) ? readFileSync(path) : undefined
    },
    async *read(timeline, from, signal) {
      for (let at = from; ;) {
        signal.throwIfAborted()
        const leftAt = (await forksToNewest(source)).find((fork) => fork.timeline === timeline)?.leftAt
        const end = leftAt ?? (timeline === identity.timeline ? identity.flushed : at)
        const bytes = readWal(timeline, at, end)
        if (bytes.length > 0) yield bytes
        at = advanceLsn(at, bytes.length)
        if (at === leftAt) return
        if (bytes.length === 0) await systemClock.sleep(pollMs, signal)
      }
    },
  }

  function readWal(timeline: Timeline, from: Lsn, end: Lsn): Buffer {
    const start = walSegmentStart(from, segmentBytes)
    const stop = lsn(Math.min(end, start + segmentBytes))
    if (stop <= from) return Buffer.alloc(0)
    const path = join(folder, walSegmentName(timeline, from, segmentBytes))
    if (!existsSync(path)) throw segmentGone(timeline, from, segmentBytes)
    const bytes = Buffer.alloc(stop - from)
    const file = openSync(path, 'r')
    readSync(file, bytes, 0, bytes.length, from - start)
    closeSync(file)
    return bytes
  }
  return source
}
