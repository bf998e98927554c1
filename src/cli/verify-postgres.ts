import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { z } from 'zod'
import type { ApiClient } from '../api/client.ts'
import { markAnswer, type SourceStatus, verification, type verificationRequest } from '../api/schemas.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { formatLsn } from '../model/lsn.ts'
import type { Moment } from '../model/moment.ts'
import { parsePostgresPoint } from '../model/postgres-point.ts'
import { bringBack } from '../recover/postgres/bring-back.ts'
import { type Checked, checkServer } from '../recover/postgres/check.ts'
import { choosePlace } from '../recover/postgres/place.ts'
import { planRecovery } from '../recover/postgres/plan.ts'
import { majorOf } from '../recover/postgres/prepare.ts'
import { findServer, serverUser } from '../recover/postgres/server-programs.ts'
import { apiOrigin } from './api-origin.ts'
import { formatDurationMs } from './format.ts'
import { exitStatus, type Parts } from './parts.ts'
import { askOver, describeBringBack, describePlan, fetchCommand, tellPlan } from './postgres.ts'
import { apiTreeReader } from './tree-reader.ts'

export interface PostgresVerifyOptions {
  query: string[]
  database: string
  scratch?: string
  pgBin?: string
  user?: string
  json?: boolean
}

const labelMax = 200
const verifiedTextMax = 1000

/**
 * Proves that a point can be recovered: brings it back into a folder of its own, has the server start, recover and be
 * checked, removes all of it, and puts the result into the journal as a mark.
 */
export async function verifyPostgres(
  client: ApiClient,
  status: SourceStatus,
  at: string,
  options: PostgresVerifyOptions,
  command: Command,
  parts: Parts,
): Promise<void> {
  const { name } = status
  const path = parts.environment['PATH'] ?? ''
  const tree = apiTreeReader(client, name, parts.signal)
  const plan = await planRecovery(tree, parsePostgresPoint(at, parts.clock.now() as Moment))
  const programs = findServer(majorOf(plan), options.pgBin, path)
  const owner = serverUser(options.user)
  const tell = (what: string): void => {
    if (options.json) parts.out.write(`${JSON.stringify({ progress: what })}\n`)
    else if (parts.err.isTerminal) parts.err.write(`\r${what}\x1b[K`)
  }
  if (!options.json) parts.out.write(describePlan(name, plan))
  const startedMs = parts.clock.monotonicMs()
  const scratch = mkdtempSync(join(options.scratch ?? tmpdir(), 'tidemark-verify-'))
  let checked: Checked
  let notes: readonly string[] = []
  let stop = async (): Promise<void> => {}
  try {
    chmodSync(scratch, 0o700)
    if (owner) chownSync(scratch, owner.uid, owner.gid)
    const place = choosePlace(join(scratch, 'data'), plan.baseline, new Map(), owner)
    const brought = await bringBack(
      {
        source: name,
        plan,
        place,
        resume: false,
        pause: false,
        start: programs,
        port: 5432,
        wal: 'on-demand',
        fetchCommand: fetchCommand(command, parts, name, plan),
        path,
      },
      {
        tree,
        origin: (point) => apiOrigin(client, name, `seq:${point.at}`, parts.signal),
        ask: askOver(status, parts),
        clock: parts.clock,
        tell: (progress) => tell(describeBringBack(progress)),
      },
      parts.signal,
    )
    const { running } = brought
    if (running === undefined) throw new Error('a server that was started runs')
    stop = () => running.server.stop()
    notes = running.notes
    const { database, query: queries } = options
    checked = await checkServer({ server: running.server, place, programs, queries, database, tell })
  } catch (error) {
    if (parts.signal.aborted) throw error
    checked = { passed: [], skipped: [], failures: [messageOf(error)] }
  } finally {
    await stop()
    rmSync(scratch, { recursive: true, force: true })
  }
  const seconds = (parts.clock.monotonicMs() - startedMs) / 1000
  const isRight = checked.failures.length === 0
  const label = `${isRight ? 'verified' : 'not verified'}: lsn:${formatLsn(plan.walEnd)} of timeline ${plan.timeline}, ${isRight ? `${checked.passed.length} checks` : checked.failures[0]}`
  const mark = await markOf(client, name, label.slice(0, labelMax))
  const recorded = await record(client, name, {
    at: `seq:${plan.view.at}`,
    good: isRight,
    bytes: plan.walBytes,
    seconds,
    text: label,
  })
  if (parts.err.isTerminal && !options.json) parts.err.write('\n')
  parts.out.write(
    options.json
      ? `${JSON.stringify({ plan: tellPlan(plan), ...checked, notes, seconds, mark, recorded })}\n`
      : describe(checked, notes, seconds, [mark, recorded]),
  )
  parts.exitWith(isRight ? exitStatus.done : exitStatus.notVerified)
}

/** A source whose agent is away takes no marks: that is told, and the result stands all the same. */
async function markOf(client: ApiClient, source: string, label: string): Promise<string> {
  try {
    const path = `/v1/sources/${encodeURIComponent(source)}/marks`
    const { sequence } = await client.json('POST', path, markAnswer, { label })
    return `marked at seq:${sequence}: ${label}`
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    return `not marked in the journal: ${error.message}`
  }
}

/** The result stands even where the vault cannot record it. */
async function record(client: ApiClient, source: string, told: z.input<typeof verificationRequest>): Promise<string> {
  try {
    const body = { ...told, text: told.text.slice(0, verifiedTextMax) }
    await client.json('POST', `/v1/sources/${encodeURIComponent(source)}/verifications`, verification, body)
    return 'recorded at the vault as the last verification'
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    return `not recorded at the vault: ${error.message}`
  }
}

function describe(
  { passed, failures, skipped }: Checked,
  notes: readonly string[],
  seconds: number,
  kept: readonly string[],
): string {
  const lines = [
    ...notes.map((one) => `  note: ${one}`),
    ...passed.map((one) => `  passed: ${one}`),
    ...skipped.map((one) => `  left out: ${one}`),
    ...failures.map((one) => `  WRONG: ${one}`),
    `${failures.length === 0 ? 'the point is recoverable' : `${failures.length} wrong`}; restored, recovered, checked and removed in ${formatDurationMs(seconds * 1000)}`,
    ...kept,
  ]
  return `${lines.join('\n')}\n`
}
