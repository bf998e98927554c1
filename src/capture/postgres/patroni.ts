import { z } from 'zod'
import type { Connection } from './protocol/connection.ts'
import { hasSqlState } from './protocol/database-error.ts'
import { quotedIdentifier } from './sql-text.ts'

/**
 * Patroni, where it manages a server. It keeps two things that a capture sets itself: with `synchronous_mode` it writes
 * synchronous_standby_names into postgresql.conf, and promotes only a standby that is named there: a setting by ALTER SYSTEM
 * would count instead, and commits that Patroni believes to be at its standby would not be. And it drops physical slots that
 * its configuration does not know, as soon as nobody streams from them and it or the server has been restarted.
 */
export interface Patroni {
  /** What its commands call the cluster. */
  readonly scope: string
  /** `unknown`: our role may not read what Patroni leaves in the data directory of its configuration. */
  readonly synchronousMode: 'off' | 'on' | 'unknown'
  /** Who asked, and where: whoever may read its configuration may do so in one database. */
  readonly asked: { readonly role: string; readonly database: string }
  /** Names of physical slots that it leaves alone, or makes itself; undefined where that cannot be seen. */
  readonly slots: readonly string[] | undefined
}

/** It gives these on the command line, so that nothing overrules it. */
const given = [
  'cluster_name',
  'wal_level',
  'hot_standby',
  'max_connections',
  'max_wal_senders',
  'max_replication_slots',
  'max_locks_per_transaction',
  'max_prepared_transactions',
  'max_worker_processes',
  'track_commit_timestamp',
]
/** Nobody else gives so many of them; some are newer than others. */
const givenMin = 8
/** Of its configuration as a file of the data directory. */
const fileName = 'patroni.dynamic.json'
const fileBytesMax = 1024 * 1024

/** Undefined where the server is not managed by Patroni. */
export async function readPatroni(sql: Connection, signal?: AbortSignal): Promise<Patroni | undefined> {
  const [row = []] =
    (
      await sql.query(
        `SELECT (SELECT count(*) >= ${givenMin} FROM pg_catalog.pg_settings
                  WHERE source = 'command line' AND name IN (${given.map((name) => `'${name}'`).join(', ')}))
             OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE application_name LIKE 'Patroni%'),
                pg_catalog.current_setting('cluster_name'), current_user, pg_catalog.current_database()`,
        signal,
        `looking who manages ${sql.where}`,
      )
    )[0]?.rows ?? []
  const [isManaged, scope = '', role = '', database = ''] = row.map((value) => value ?? '')
  if (isManaged !== 't') return undefined
  return { scope, asked: { role, database }, ...configurationOf(await readConfiguration(sql, signal)) }
}

async function readConfiguration(sql: Connection, signal: AbortSignal | undefined): Promise<string | undefined> {
  try {
    const text = `SELECT pg_catalog.pg_read_file('${fileName}', 0, ${fileBytesMax}, true)`
    const [set] = await sql.query(text, signal, `reading ${fileName} of ${sql.where}`)
    return set?.rows[0]?.[0] ?? undefined
  } catch (error) {
    if (!hasSqlState(error, '42501')) throw error
    return undefined
  }
}

const slotKinds = z.object({ name: z.string().optional(), type: z.string().optional() })
const configuration = z.object({
  synchronous_mode: z.union([z.boolean(), z.string()]).nullish(),
  slots: z.record(z.string(), slotKinds.nullable()).nullish(),
  ignore_slots: z.array(slotKinds).nullish(),
})

function configurationOf(text: string | undefined): Pick<Patroni, 'synchronousMode' | 'slots'> {
  const read = text === undefined ? undefined : configuration.safeParse(parsed(text))
  if (!read?.success) return { synchronousMode: 'unknown', slots: undefined }
  const { synchronous_mode: mode, slots, ignore_slots: ignored } = read.data
  const isOff = mode === undefined || mode === null || mode === false || /^(?:off|false|no|0)$/i.test(String(mode))
  const isPhysical = (one: { type?: string | undefined } | null): boolean => one?.type === 'physical'
  return {
    synchronousMode: isOff ? 'off' : 'on',
    slots: [
      ...Object.entries(slots ?? {}).flatMap(([name, one]) => (isPhysical(one) ? [name] : [])),
      ...(ignored ?? []).flatMap(({ name, type = 'physical' }) =>
        name !== undefined && type === 'physical' ? [name] : [],
      ),
    ],
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Why commits cannot be made to wait for the vault here, and what to do; undefined where they can. */
export function patroniForbidsZeroLoss(
  { scope, synchronousMode, asked }: Patroni,
  { where }: Pick<Connection, 'where'>,
): { readonly message: string; readonly hint: string } | undefined {
  if (synchronousMode === 'off') return undefined
  const managed = `${where} is managed by Patroni ("${scope}")`
  return synchronousMode === 'on'
    ? {
        message: `${managed} with synchronous_mode: it alone says for whom commits wait, and promotes by it`,
        hint: `protect it without --zero-loss; or have commits wait for the vault and not for a standby: ${editConfig(scope, 'synchronous_mode=off')}`,
      }
    : {
        message: `${managed}, and it cannot be seen whether its synchronous_mode is on`,
        hint: `as a superuser, in the database ${asked.database}: GRANT EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint, boolean) TO ${quotedIdentifier(asked.role)};`,
      }
}

/** What keeps Patroni from dropping a slot; undefined where it is known to leave it alone. */
export function patroniDropsSlot(
  { scope, slots }: Patroni,
  slot: string,
): { readonly message: string; readonly hint: string } | undefined {
  if (slots?.includes(slot)) return undefined
  return {
    message: `Patroni ("${scope}") drops slots that ${slots === undefined ? 'it may not' : 'it does not'} know, ours too: after a failover, or when it is restarted, log may be missing`,
    hint: editConfig(scope, `slots.${slot}.type=physical`),
  }
}

const editConfig = (scope: string, setting: string): string => `patronictl edit-config ${scope} --set ${setting}`
