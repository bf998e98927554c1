import type { Clock } from '../../base/clock.ts'
import type { CaptureReport } from '../../model/report.ts'
import { openPrimary } from './primary.ts'
import type { Connection } from './protocol/connection.ts'
import type { ServerRequest } from './server.ts'
import { quotedText } from './sql-text.ts'

export interface WatchRequest {
  readonly server: ServerRequest
  readonly slot: string
  readonly walKeptBytesMax: number
  readonly clock: Clock
}

/**
 * - `keep`: the slot keeps the log it should
 * - `give-up`: it keeps more than the server may be burdened with; whoever hears this drops it (slot-removal.ts)
 * - `lost`: the server has given it up by a limit of its own
 * - `absent`: there is no such slot
 * - `unknown`: the server was not to be asked
 */
export type SlotVerdict = 'keep' | 'give-up' | 'lost' | 'absent' | 'unknown'

export interface SlotSeen {
  readonly verdict: SlotVerdict
  /** Log that the server keeps for us. */
  readonly keptBytes: number | undefined
  readonly problems: CaptureReport['problems']
}

const lookMs = 10_000
/** Above the first warning: log may come at hundreds of megabytes a second. */
const lookMsHurried = 1000
const warnAt = { first: 0.5, last: 0.8 }
const firstWithStatus = 13

/** Looks at the slot for as long as it is iterated, whether anything is streamed or not. */
export async function* watchSlot(request: WatchRequest, signal: AbortSignal): AsyncGenerator<SlotSeen, void, void> {
  const { clock, walKeptBytesMax } = request
  let sql: Connection | undefined
  let before: SlotFacts | undefined
  try {
    for (;;) {
      let seen: SlotSeen = { verdict: 'unknown', keptBytes: undefined, problems: [] }
      try {
        sql ??= await openPrimary(request.server, signal)
        const facts = await readFacts(sql, request.slot, clock, signal)
        seen = judge(facts, before, request)
        before = facts
      } catch {
        signal.throwIfAborted()
        // That the server cannot be reached is told by who streams; here it is asked again.
        await sql?.[Symbol.asyncDispose]()
        sql = undefined
      }
      yield seen
      const isHurried = (seen.keptBytes ?? 0) >= walKeptBytesMax * warnAt.first
      await clock.sleep(isHurried ? lookMsHurried : lookMs, signal)
    }
  } finally {
    await sql?.[Symbol.asyncDispose]()
  }
}

interface SlotFacts {
  readonly atMs: number
  /** Position of the server, in bytes. */
  readonly written: number
  readonly keptBytes: number | undefined
  readonly isThere: boolean
  /** `reserved`, `extended`, `unreserved`, `lost`; of version 12 nothing. */
  readonly status: string | undefined
  /** What the server still writes before it gives the slot up by max_slot_wal_keep_size. */
  readonly safeBytes: number | undefined
}

async function readFacts(sql: Connection, slot: string, clock: Clock, signal: AbortSignal): Promise<SlotFacts> {
  const status = sql.serverMajor >= firstWithStatus ? 'wal_status, safe_wal_size' : 'NULL, NULL'
  const [now, found] = await sql.query(
    `SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0');
     SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn), ${status}
       FROM pg_catalog.pg_replication_slots WHERE slot_name = ${quotedText(slot)}`,
    signal,
    `looking at the slot ${slot} of ${sql.where}`,
  )
  const [kept, walStatus, safe] = found?.rows[0] ?? []
  return {
    atMs: clock.monotonicMs(),
    written: Number(now?.rows[0]?.[0]),
    isThere: kept !== undefined,
    keptBytes: kept ? Math.max(0, Number(kept)) : undefined,
    status: walStatus ?? undefined,
    safeBytes: safe ? Number(safe) : undefined,
  }
}

function judge(facts: SlotFacts, before: SlotFacts | undefined, { walKeptBytesMax, slot }: WatchRequest): SlotSeen {
  const { keptBytes, isThere, status } = facts
  if (!isThere) {
    const problem = {
      code: 'slot-missing',
      message: `the slot ${slot} is no longer at the server`,
      hint: `it is made anew; with Patroni: patronictl edit-config --set slots.${slot}.type=physical`,
    }
    return { verdict: 'absent', keptBytes, problems: before?.isThere ? [problem] : [] }
  }
  if (status === 'lost') {
    const problem = {
      code: 'slot-lost',
      message: `the server has given up the slot ${slot}, by max_slot_wal_keep_size or idle_replication_slot_timeout`,
      hint: 'a hole is recorded and a new baseline taken; give the slot more, or the vault a better line',
    }
    return { verdict: 'lost', keptBytes, problems: [problem] }
  }
  if (keptBytes === undefined) return { verdict: 'keep', keptBytes, problems: [] }
  if (keptBytes >= walKeptBytesMax) {
    const problem = {
      code: 'wal-kept',
      message: `the server keeps ${mebibytes(keptBytes)} of log for the vault, and may keep ${mebibytes(walKeptBytesMax)}: its slot is given up`,
      hint: 'a hole is recorded and a new baseline taken when the line is back',
    }
    return { verdict: 'give-up', keptBytes, problems: [problem] }
  }
  return { verdict: 'keep', keptBytes, problems: earlyWarnings(facts, keptBytes, before, walKeptBytesMax) }
}

function earlyWarnings(
  facts: SlotFacts,
  keptBytes: number,
  before: SlotFacts | undefined,
  walKeptBytesMax: number,
): SlotSeen['problems'] {
  const { safeBytes } = facts
  const isNear = safeBytes !== undefined && safeBytes < keptBytes * (1 / warnAt.last - 1)
  const part = keptBytes / walKeptBytesMax
  if (part < warnAt.first && !isNear) return []
  const left = Math.min(walKeptBytesMax - keptBytes, safeBytes ?? Infinity)
  const message = `the server keeps ${mebibytes(keptBytes)} of log for the vault; after ${mebibytes(Math.max(0, left))} more its slot is given up`
  const bytesPerMs = before ? (facts.written - before.written) / (facts.atMs - before.atMs) : 0
  const minutes = bytesPerMs > 0 ? Math.floor(left / bytesPerMs / 60_000) : undefined
  const isLast = part >= warnAt.last || isNear
  return [
    {
      code: isLast ? 'wal-kept-last' : 'wal-kept-early',
      message: minutes === undefined ? message : `${message}, at the present rate in ${minutes} min`,
      hint: isNear
        ? 'bring the line to the vault back, or raise max_slot_wal_keep_size'
        : 'bring the line to the vault back; a larger limit is --wal-keep',
    },
  ]
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 1024 ** 2)} MiB`
