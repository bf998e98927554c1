import { collationsQuery, tellCollations } from '../../format/postgres-collations.ts'
import type { Connection } from './protocol/connection.ts'
import { ServerSettings } from './server-settings.ts'

/** Settings that a machine which runs the copy must have, or have at least as large. */
const names = [
  'server_version',
  'server_encoding',
  'data_checksums',
  'block_size',
  'wal_block_size',
  'wal_segment_size',
  'segment_size',
  'data_directory_mode',
  'wal_level',
  'max_connections',
  'max_worker_processes',
  'max_wal_senders',
  'max_prepared_transactions',
  'max_locks_per_transaction',
  'shared_preload_libraries',
] as const
const databasesMax = 100

/**
 * What decides whether another machine can run the copy, and whether its text indexes hold there. By names of settings, and
 * `version`: the words of version(), with the architecture; `collations`: each provider with the versions of its library;
 * `database.<name>`: encoding, provider, collation, character type, and the version the database was made with.
 */
export async function serverProperties(sql: Connection, signal?: AbortSignal): Promise<Record<string, string>> {
  const settings = await ServerSettings.read(sql, names, signal)
  const known = names.flatMap((name) => {
    const text = settings.text(name)
    return text === undefined ? [] : [[name, text] as const]
  })
  const [version, collations, databases] = await sql.query(
    `SELECT pg_catalog.version(); ${collationsQuery}; ${databasesQuery(sql.serverMajor)}`,
    signal,
    `reading what ${sql.where} is made of`,
  )
  return Object.fromEntries([
    ...known,
    ['version', version?.rows[0]?.[0] ?? ''],
    ['collations', tellCollations(collations?.rows ?? [])],
    ...(databases?.rows ?? []).map(([name, ...parts]) => [`database.${name}`, parts.filter(Boolean).join(' ')]),
  ])
}

function databasesQuery(major: number): string {
  const locale = major >= 17 ? 'datlocale' : major >= 15 ? 'daticulocale' : 'NULL'
  const provider =
    major >= 15 ? `CASE datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' END` : `'libc'`
  const version = major >= 15 ? 'datcollversion' : 'NULL'
  return `
    SELECT datname, pg_catalog.pg_encoding_to_char(encoding), ${provider}, datcollate, datctype, ${locale}, ${version}
      FROM pg_catalog.pg_database ORDER BY datname LIMIT ${databasesMax}`
}
