import type { Command } from 'commander'
import type { ApiClient } from '../api/client.ts'
import { sourceStatus, type SourceStatus } from '../api/schemas.ts'
import { hasSqlState } from '../capture/postgres/protocol/database-error.ts'
import { connect as connectToServer } from '../capture/postgres/protocol/connection.ts'
import { parsePostgresUrl, parsePostgresUrls } from '../capture/postgres/protocol/url.ts'
import type { CommitListEntry } from '../format/commits.ts'
import { formatLsn } from '../model/lsn.ts'
import { formatMoment, isoMoment } from '../model/moment.ts'
import type { BringBackProgress } from '../recover/postgres/bring-back.ts'
import type { RecoveryPlan } from '../recover/postgres/plan.ts'
import { shellWord } from '../recover/postgres/restore-command.ts'
import type { Ask } from '../recover/postgres/server.ts'
import { apiSocket } from './connect.ts'
import { formatBytes, formatCount } from './format.ts'
import type { Parts } from './parts.ts'

/** What the commands about PostgreSQL share: the way to a restored server, and how plans and transactions are told. */

export const statusOf = (client: ApiClient, source: string): Promise<SourceStatus> =>
  client.json('GET', `/v1/sources/${encodeURIComponent(source)}`, sourceStatus)

const unknownRole = '28000'

/** Over the private socket, as the first of these roles that there is. */
export function askOver({ postgres }: SourceStatus, { clock, random }: Parts): Ask {
  const own = postgres === undefined ? [] : parsePostgresUrls(postgres.url, 'postgres').map(({ user }) => user)
  const roles = [...new Set(['postgres', ...own])]
  return async ({ socketFolder, port, database = 'postgres' }, text) => {
    for (;;) {
      const [role = 'postgres'] = roles
      const url = `postgres:///${encodeURIComponent(database)}?host=${encodeURIComponent(socketFolder)}&port=${port}&user=${encodeURIComponent(role)}`
      try {
        const target = parsePostgresUrl(url, role)
        await using connection = await connectToServer({ target, purpose: 'database', clock, random })
        return (await connection.query(text)).at(-1)?.rows ?? []
      } catch (error) {
        if (roles.length === 1 || !hasSqlState(error, unknownRole)) throw error
        roles.shift()
      }
    }
  }
}

/** The command, for sh, that brings a WAL file into a folder: this program, speaking to the same vault. */
export function fetchCommand(command: Command, parts: Parts, source: string, { view }: RecoveryPlan): string {
  const program = [process.execPath, ...process.execArgv, process.argv[1] ?? 'tidemark']
  const words = [...program, 'wal', 'get', source, '--at', `seq:${view.at}`].map(shellWord)
  return `TIDEMARK_SOCKET=${shellWord(apiSocket(command, parts))} ${words.join(' ')}`
}

export function describePlan(source: string, plan: RecoveryPlan): string {
  const { baseline, base, wal, walBytes, timeline, kept, firstDropped, droppedCommits, recoverTo } = plan
  const lines = [
    `${source}: baseline ${baseline.number} of ${formatMoment(base.moment)} (${formatCount(baseline.files)} files, ${formatBytes(baseline.bytes)}), ` +
      `then ${formatCount(wal.length)} WAL files (${formatBytes(walBytes)}) of timeline ${timeline}`,
    `  recovers to ${recoverTo === 'end' ? `the end of the WAL known, ${formatLsn(plan.walEnd)}` : `${recoverTo.inclusive ? 'just after' : 'just before'} ${formatLsn(recoverTo.lsn)}`}`,
    `  last kept: ${kept === undefined ? 'the baseline itself; no commit after it' : describeEntry(kept)}`,
  ]
  if (firstDropped !== undefined)
    lines.push(
      `  first left out: ${describeEntry(firstDropped)}; ${formatCount(droppedCommits)} ${droppedCommits === 1 ? 'commit is' : 'commits are'} left out`,
    )
  for (const note of plan.notes) lines.push(`  note: ${note}`)
  return `${lines.join('\n')}\n`
}

function describeEntry(entry: CommitListEntry): string {
  const when = `at ${formatMoment(entry.time)} (lsn:${formatLsn(entry.start)})`
  return entry.kind === 'restore-point'
    ? `restore point "${entry.name}" ${when}`
    : `${entry.kind === 'commit' ? 'commit' : entry.kind.replace('-', ' ')} of xid ${entry.xid} ${when}`
}

/** For machines. */
export function tellEntry(entry: CommitListEntry): Record<string, unknown> {
  const { kind, start, end, time } = entry
  const place = { kind, lsn: formatLsn(start), end: formatLsn(end), time: isoMoment(time) }
  if (kind === 'restore-point') return { ...place, name: entry.name }
  const { xid, database, subtransactions } = entry
  return {
    ...place,
    xid,
    ...(database === undefined ? {} : { database }),
    subtransactions,
    ...('gid' in entry ? { gid: entry.gid } : {}),
  }
}

export function tellPlan(plan: RecoveryPlan): Record<string, unknown> {
  const { baseline, base, view, timeline, recoverTo, kept, firstDropped, droppedCommits, wal, walBytes, walEnd } = plan
  return {
    baseline: { number: baseline.number, at: base.at, bytes: baseline.bytes, end: formatLsn(baseline.end as never) },
    view: { at: view.at, moment: isoMoment(view.moment) },
    timeline,
    recoverTo: recoverTo === 'end' ? 'end' : { lsn: formatLsn(recoverTo.lsn), inclusive: recoverTo.inclusive },
    ...(kept === undefined ? {} : { kept: tellEntry(kept) }),
    ...(firstDropped === undefined ? {} : { firstDropped: tellEntry(firstDropped) }),
    droppedCommits,
    wal: { files: wal.length, bytes: walBytes, end: formatLsn(walEnd) },
    notes: plan.notes,
  }
}

export function describeBringBack(progress: BringBackProgress): string {
  const count = `${formatCount(progress.files)}/${formatCount(progress.filesTotal)}`
  switch (progress.kind) {
    case 'base':
      return `${progress.stage}: ${count} files, ${formatBytes(progress.bytes)}/${formatBytes(progress.bytesTotal)}`
    case 'wal':
      return `fetching WAL: ${count} files`
    case 'replay':
      return `recovering: ${count} WAL files taken`
  }
}
