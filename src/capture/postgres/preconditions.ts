import { messageOf } from '../../base/errors.ts'
import type { PostgresSettings } from '../../model/source.ts'
import { patroniDropsSlot, patroniForbidsZeroLoss, readPatroni } from './patroni.ts'
import type { Connection } from './protocol/connection.ts'
import { hasSqlState } from './protocol/database-error.ts'
import type { PostgresTarget } from './protocol/target.ts'
import { openConnection, type ServerRequest } from './server.ts'
import { serverProperties } from './server-properties.ts'
import { ServerSettings } from './server-settings.ts'
import { quotedIdentifier, quotedText } from './sql-text.ts'
import { checkZeroLossRight } from './zero-loss-right.ts'

/** What stands in the way of protecting a server, or of restoring all of it. */
export interface Finding {
  readonly code: FindingCode
  /** `refused`: it cannot be protected like this. */
  readonly severity: 'refused' | 'warning'
  readonly message: string
  /** With the very line or statement to change. */
  readonly hint: string
}

export type FindingCode =
  | 'server-version'
  | 'connection-refused'
  | 'replication-right'
  | 'replication-refused'
  | 'wal-level'
  | 'wal-senders'
  | 'replication-slots'
  | 'wal-kept'
  | 'idle-slot-timeout'
  | 'full-page-writes'
  | 'fsync'
  | 'wal-sender-timeout'
  | 'standby'
  | 'block-size'
  | 'unlogged-tables'
  | 'collation-versions'
  | 'tablespaces'
  | 'synchronous-commit'
  | 'zero-loss-right'
  | 'application-name'
  | 'database-unseen'
  | 'patroni'
  | 'patroni-slot'

export interface ServerCheck {
  readonly findings: readonly Finding[]
  /** See server-properties.ts; empty where no SQL was possible. */
  readonly properties: Readonly<Record<string, string>>
}

export interface Checking extends Omit<ServerRequest, 'url'> {
  readonly target: PostgresTarget
  readonly settings: Pick<PostgresSettings, 'walKeptBytesMax' | 'zeroLoss'>
  /** Ours, which need no room where they are already. */
  readonly slot?: string
}

export const versionMin = 12
export const versionMax = 18
/** One for the stream, one for a baseline. */
const sendersWanted = 2
const senderTimeoutMsMin = 10_000
const namedMax = 20
const databasesMax = 100
const settingNames = [
  'wal_level',
  'max_wal_senders',
  'max_replication_slots',
  'max_slot_wal_keep_size',
  'idle_replication_slot_timeout',
  'full_page_writes',
  'fsync',
  'wal_sender_timeout',
  'block_size',
  'wal_block_size',
  'synchronous_commit',
] as const

/** Looks at one server by SQL, and tries a replication connection. A server that cannot be reached is thrown. */
export async function checkServer(checking: Checking, signal: AbortSignal): Promise<ServerCheck> {
  const opened = await openSql(checking, signal)
  if ('finding' in opened) return { findings: [opened.finding], properties: {} }
  await using sql = opened.sql
  const settings = await ServerSettings.read(sql, settingNames, signal)
  const findings = [
    ...checkVersion(sql),
    ...(await checkRole(sql, checking, signal)),
    ...checkSettings(settings, checking),
    ...(await checkRoom(sql, settings, checking, signal)),
    ...(await checkContents(sql, checking, signal)),
    ...(await checkPatroni(sql, checking, signal)),
    ...(checking.settings.zeroLoss ? await checkZeroLoss(sql, settings, checking, signal) : []),
  ]
  return { findings: findings.toSorted(refusedFirst), properties: await serverProperties(sql, signal) }
}

const refused = (code: FindingCode, message: string, hint: string): Finding => ({
  code,
  severity: 'refused',
  message,
  hint,
})
const warning = (code: FindingCode, message: string, hint: string): Finding => ({
  code,
  severity: 'warning',
  message,
  hint,
})
const refusedFirst = (a: Finding, b: Finding): number =>
  Number(b.severity === 'refused') - Number(a.severity === 'refused')

async function openSql(
  checking: Checking,
  signal: AbortSignal,
): Promise<{ readonly sql: Connection } | { readonly finding: Finding }> {
  try {
    return { sql: await openConnection(checking, checking.target, 'database', signal) }
  } catch (error) {
    if (!isHbaRefusal(error)) throw error
    const line = hbaLine(checking, quotedIdentifier(checking.target.database))
    return { finding: refused('connection-refused', messageOf(error), hbaHint(line)) }
  }
}

function checkVersion({ serverMajor, where }: Connection): Finding[] {
  if (serverMajor >= versionMin && serverMajor <= versionMax) return []
  return [
    refused(
      'server-version',
      `${where} is PostgreSQL ${serverMajor}, of which it is not known how it writes its log`,
      `versions ${versionMin} to ${versionMax} are protected; look for a newer release of this program`,
    ),
  ]
}

async function checkRole(sql: Connection, checking: Checking, signal: AbortSignal): Promise<Finding[]> {
  const text = 'SELECT rolsuper OR rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user'
  const [may] = (await sql.query(text, signal))[0]?.rows[0] ?? []
  if (may !== 't') {
    const user = quotedIdentifier(checking.target.user)
    const message = `the role ${checking.target.user} may not replicate`
    return [refused('replication-right', message, `as a superuser: ALTER ROLE ${user} REPLICATION;`)]
  }
  try {
    const replication = await openConnection(checking, checking.target, 'replication', signal)
    await replication[Symbol.asyncDispose]()
    return []
  } catch (error) {
    if (isHbaRefusal(error)) {
      const [address] =
        (await sql.query('SELECT pg_catalog.host(pg_catalog.inet_client_addr())', signal))[0]?.rows[0] ?? []
      const line = hbaLine(checking, 'replication', address ?? undefined, sql.over)
      return [refused('replication-refused', messageOf(error), hbaHint(line))]
    }
    // No room for one more sender; the settings tell the same.
    if (hasSqlState(error, '53300')) return []
    throw error
  }
}

/** SQLSTATE 28000 is also that of a role that may not log in. The name of the file is in the words of every language. */
const isHbaRefusal = (error: unknown): boolean =>
  hasSqlState(error, '28000') && error.report.message.includes('pg_hba.conf')

function hbaLine({ target }: Checking, database: string, client = '<address of this machine>', over = 'tcp'): string {
  const user = quotedIdentifier(target.user)
  if (target.address.kind === 'socket') return `local ${database} ${user} peer`
  const bits = client.includes(':') ? '/128' : client.startsWith('<') ? '' : '/32'
  return `${over === 'tls' ? 'hostssl' : 'host'} ${database} ${user} ${client}${bits} scram-sha-256`
}

const hbaHint = (line: string): string =>
  `in pg_hba.conf, above any line that rejects it: "${line}" (all does not cover replication); then SELECT pg_reload_conf();`

function checkSettings(settings: ServerSettings, { settings: { walKeptBytesMax } }: Checking): Finding[] {
  const findings: Finding[] = []
  if (settings.is('wal_level', 'minimal')) {
    findings.push(
      refused(
        'wal-level',
        'wal_level is minimal: the log does not hold every change',
        'ALTER SYSTEM SET wal_level = replica; then restart the server',
      ),
    )
  }
  if (!settings.is('full_page_writes', 'on')) {
    findings.push(
      warning(
        'full-page-writes',
        'full_page_writes is off: pages copied while they are written cannot be mended from the log',
        'ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();',
      ),
    )
  }
  if (!settings.is('fsync', 'on')) {
    findings.push(
      warning(
        'fsync',
        'fsync is off: after a power cut the server may not be what its log says',
        'ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();',
      ),
    )
  }
  const pageBytes = [settings.number('block_size'), settings.number('wal_block_size')]
  if (pageBytes.some((bytes) => bytes !== 8192)) {
    findings.push(
      refused(
        'block-size',
        `the server was built with pages of ${pageBytes[0]} bytes and log pages of ${pageBytes[1]}`,
        'only builds with 8192 for both are protected',
      ),
    )
  }
  return [...findings, ...checkSenderTimeout(settings), ...checkKept(settings, walKeptBytesMax)]
}

function checkSenderTimeout(settings: ServerSettings): Finding[] {
  const ms = settings.number('wal_sender_timeout') ?? 0
  const hint = "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf();"
  if (ms === 0) {
    const message =
      'wal_sender_timeout is 0: a line that has gone without a word keeps its sender, and the slot, for hours'
    return [warning('wal-sender-timeout', message, hint)]
  }
  if (ms >= senderTimeoutMsMin) return []
  return [
    warning('wal-sender-timeout', `wal_sender_timeout is ${ms} ms: a short pause of the line ends the stream`, hint),
  ]
}

/** What a vault that is away may cost the server's disk. */
function checkKept(settings: ServerSettings, walKeptBytesMax: number): Finding[] {
  const findings: Finding[] = []
  const ours = `${Math.ceil(walKeptBytesMax / 1024 ** 2)}MB`
  const megabytes = settings.number('max_slot_wal_keep_size')
  const set = `ALTER SYSTEM SET max_slot_wal_keep_size = '${ours}'; SELECT pg_reload_conf();`
  if (megabytes === undefined || megabytes === -1) {
    const held = `while the agent runs, it gives its slot up at ${ours}`
    findings.push(
      megabytes === undefined
        ? warning(
            'wal-kept',
            `this version has no limit of its own for the log a slot keeps: ${held}`,
            'version 13 has max_slot_wal_keep_size; watch the disk while the agent is stopped',
          )
        : warning('wal-kept', `max_slot_wal_keep_size is -1: ${held}, but nothing does while it is stopped`, set),
    )
  } else if (megabytes * 1024 ** 2 < walKeptBytesMax) {
    findings.push(
      warning(
        'wal-kept',
        `max_slot_wal_keep_size is ${megabytes}MB: the server gives the slot up before the limit of this source, ${ours}`,
        set,
      ),
    )
  }
  const idle = settings.number('idle_replication_slot_timeout') ?? 0
  if (idle > 0) {
    findings.push(
      warning(
        'idle-slot-timeout',
        `idle_replication_slot_timeout gives up the slot of an agent that was away for ${idle} s`,
        'ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();',
      ),
    )
  }
  return findings
}

async function checkRoom(
  sql: Connection,
  settings: ServerSettings,
  { slot, applicationName }: Checking,
  signal: AbortSignal,
): Promise<Finding[]> {
  const [row = []] =
    (
      await sql.query(
        `SELECT (SELECT count(*) FROM pg_catalog.pg_stat_replication WHERE application_name IS DISTINCT FROM ${quotedText(applicationName)}),
                (SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name <> ${quotedText(slot ?? '')})`,
        signal,
      )
    )[0]?.rows ?? []
  const [senders = 0, slots = 0] = row.map(Number)
  const sendersMax = settings.number('max_wal_senders') ?? 0
  const slotsMax = settings.number('max_replication_slots') ?? 0
  const findings: Finding[] = []
  if (sendersMax - senders < sendersWanted) {
    findings.push(
      refused(
        'wal-senders',
        `${senders} of max_wal_senders = ${sendersMax} are in use, and ${sendersWanted} more are needed`,
        `ALTER SYSTEM SET max_wal_senders = ${senders + sendersWanted}; then restart the server`,
      ),
    )
  }
  if (slotsMax - slots < 1) {
    findings.push(
      refused(
        'replication-slots',
        `${slots} of max_replication_slots = ${slotsMax} are in use, and one more is needed`,
        `ALTER SYSTEM SET max_replication_slots = ${slots + 1}; then restart the server, or drop a slot that nobody uses`,
      ),
    )
  }
  return findings
}

/** What cannot be protected, or needs thought when it is restored. */
async function checkContents(sql: Connection, checking: Checking, signal: AbortSignal): Promise<Finding[]> {
  const [standby, spaces, databases] = await sql.query(
    `SELECT pg_catalog.pg_is_in_recovery();
     SELECT spcname FROM pg_catalog.pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY spcname;
     SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND datname <> 'template1' ORDER BY datname LIMIT ${databasesMax}`,
    signal,
  )
  const findings: Finding[] = []
  if (standby?.rows[0]?.[0] === 't') {
    findings.push(
      warning(
        'standby',
        `${sql.where} is a standby: it is protected from when it is promoted`,
        'name the primary too: postgres://user@primary,standby/database',
      ),
    )
  }
  const spaceNames = (spaces?.rows ?? []).map(([name]) => name ?? '')
  if (spaceNames.length > 0) {
    findings.push(
      warning(
        'tablespaces',
        `there are tablespaces: ${named(spaceNames)}`,
        'they are protected; a restore has to be told a place for each',
      ),
    )
  }
  const unlogged: string[] = []
  const outdated: string[] = []
  for (const [database = null] of databases?.rows ?? []) {
    if (database === null) continue
    const found = await contentsOf(checking, database, signal)
    if ('finding' in found) findings.push(found.finding)
    else {
      unlogged.push(...found.unlogged)
      outdated.push(...found.outdated)
    }
  }
  if (unlogged.length > 0) {
    findings.push(
      warning(
        'unlogged-tables',
        `unlogged tables are not in the log, and empty after a restore: ${named(unlogged)}`,
        'where they matter: ALTER TABLE … SET LOGGED;',
      ),
    )
  }
  if (outdated.length > 0) {
    findings.push(
      warning(
        'collation-versions',
        `indexes on text may be wrong already, and come back so: ${named(outdated)}`,
        'in each of these databases: REINDEX DATABASE …; then ALTER COLLATION … REFRESH VERSION; or ALTER DATABASE … REFRESH COLLATION VERSION;',
      ),
    )
  }
  return findings
}

interface DatabaseContents {
  /** By `database.schema.table`. */
  readonly unlogged: readonly string[]
  /** Collations whose library has another version than when they were made. */
  readonly outdated: readonly string[]
}

async function contentsOf(
  checking: Checking,
  database: string,
  signal: AbortSignal,
): Promise<DatabaseContents | { readonly finding: Finding }> {
  try {
    await using sql = await openConnection(checking, { ...checking.target, database }, 'database', signal)
    const [unlogged, outdated] = await sql.query(
      `SELECT pg_catalog.quote_ident(nspname) || '.' || pg_catalog.quote_ident(relname)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE relpersistence = 'u' AND relkind = 'r' ORDER BY 1 LIMIT ${namedMax + 1};
       ${outdatedQuery(sql.serverMajor)}`,
      signal,
    )
    return {
      unlogged: (unlogged?.rows ?? []).map(([name]) => `${database}.${name}`),
      outdated: (outdated?.rows ?? []).map(
        ([what, made, now]) => `${database} (${what} was made with version ${made}, and is ${now} now)`,
      ),
    }
  } catch (error) {
    signal.throwIfAborted()
    return {
      finding: warning(
        'database-unseen',
        `what is unlogged in the database ${database} is not known: ${messageOf(error)}`,
        `it is protected all the same; to look into it: GRANT CONNECT ON DATABASE ${quotedIdentifier(database)} TO ${quotedIdentifier(checking.target.user)}; and a line of pg_hba.conf for it`,
      ),
    }
  }
}

/** The collation that a database has by itself has a version from 15 on. */
function outdatedQuery(major: number): string {
  const ofDatabase = `
    UNION ALL SELECT 'its own collation', datcollversion, pg_catalog.pg_database_collation_actual_version(oid)
      FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
       AND datcollversion <> pg_catalog.pg_database_collation_actual_version(oid)`
  return `
    SELECT min(pg_catalog.quote_ident(collname)), collversion, pg_catalog.pg_collation_actual_version(oid)
      FROM pg_catalog.pg_collation WHERE collversion <> pg_catalog.pg_collation_actual_version(oid)
     GROUP BY 2, 3 ${major >= 15 ? ofDatabase : ''} LIMIT ${namedMax + 1}`
}

const named = (names: readonly string[]): string =>
  names.slice(0, namedMax).join(', ') + (names.length > namedMax ? ', and more' : '')

async function checkPatroni(
  sql: Connection,
  { settings: { zeroLoss }, slot = 'tidemark_SOURCE' }: Checking,
  signal: AbortSignal,
): Promise<Finding[]> {
  const patroni = await readPatroni(sql, signal)
  if (patroni === undefined) return []
  const forbidden = zeroLoss && patroniForbidsZeroLoss(patroni, sql)
  const dropped = patroniDropsSlot(patroni, slot)
  return [
    ...(forbidden ? [refused('patroni', forbidden.message, forbidden.hint)] : []),
    ...(dropped ? [warning('patroni-slot', dropped.message, dropped.hint)] : []),
  ]
}

async function checkZeroLoss(
  sql: Connection,
  settings: ServerSettings,
  checking: Checking,
  signal: AbortSignal,
): Promise<Finding[]> {
  const findings: Finding[] = []
  const right = await checkZeroLossRight(sql, signal)
  if (right) findings.push(refused('zero-loss-right', right.message, right.hint))
  if (checking.target.applicationName !== undefined) {
    findings.push(
      refused(
        'application-name',
        'the URL has an application_name, and synchronous_standby_names goes by a name of this source',
        'leave application_name out of the URL',
      ),
    )
  }
  const commit = settings.text('synchronous_commit') ?? ''
  if (commit === 'off' || commit === 'local') {
    findings.push(
      refused(
        'synchronous-commit',
        `synchronous_commit is ${commit}: no commit waits for the vault`,
        'ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();',
      ),
    )
  }
  return findings
}
