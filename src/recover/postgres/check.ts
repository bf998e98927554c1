import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../base/errors.ts'
import type { Place } from './place.ts'
import type { RestoredServer } from './server.ts'
import type { ServerPrograms } from './server-programs.ts'

export interface CheckRequest {
  readonly server: RestoredServer
  readonly place: Place
  readonly programs: ServerPrograms
  /** Queries of the user: one that fails, or whose only answer is false, has not passed. */
  readonly queries: readonly string[]
  /** Where they run. */
  readonly database: string
  readonly tell: (what: string) => void
}

export interface Checked {
  /** What was done, each as a sentence. */
  readonly passed: readonly string[]
  readonly failures: readonly string[]
  /** What could not be done here, and why. */
  readonly skipped: readonly string[]
}

/** Checks a restored server that is open, and stops it. */
export async function checkServer(request: CheckRequest): Promise<Checked> {
  const { server } = request
  const result = { passed: [] as string[], failures: [] as string[], skipped: [] as string[] }
  const [settings] = await server.ask(`SELECT current_setting('data_checksums'), current_setting('server_version_num')`)
  const program = join(request.programs.folder, 'pg_checksums')
  const byProgram = settings?.[0] === 'on' && existsSync(program)
  const databases = await server.ask(
    "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template0' ORDER BY datname",
  )
  for (const [database] of databases) {
    if (database === null || database === undefined) continue
    request.tell(`checking database ${database}`)
    await checkIndexes(server, database, result)
    if (!byProgram) await readEverything(server, database, settings?.[0] === 'on', result)
  }
  for (const query of request.queries) await runQuery(request, query, result)
  await server.stop()
  if (byProgram) {
    request.tell('checking all pages')
    await checkPages(program, request.place, result)
  } else result.skipped.push(lacksChecksums(settings?.[0] === 'on'))
  return result
}

const lacksChecksums = (enabled: boolean): string =>
  enabled
    ? 'pg_checksums is not among the server programs here: the server itself has checked each page it read'
    : 'the cluster has no data checksums: a page that is wrong in itself is not noticed'

interface Results {
  readonly passed: string[]
  readonly failures: string[]
  readonly skipped: string[]
}

/** Every B-tree index, and from version 14 on every table, by the extension amcheck; it is made in the copy only. */
async function checkIndexes(server: RestoredServer, database: string, into: Results): Promise<void> {
  const [available] = await server.ask("SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'", database)
  if (available?.[0] === '0') {
    into.skipped.push(`${database}: indexes were not checked, as the extension amcheck is not installed here`)
    return
  }
  await server.ask('CREATE EXTENSION IF NOT EXISTS amcheck', database)
  const indexes = await server.ask(
    `SELECT c.oid, c.oid::regclass FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
     WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p' AND i.indisready AND i.indisvalid ORDER BY c.oid`,
    database,
  )
  const [function_] = await server.ask("SELECT to_regproc('verify_heapam') IS NOT NULL", database)
  const tables = function_?.[0] === 't' ? await relations(server, database, "'r', 'm', 't'") : []
  const checks: (readonly [string, string])[] = [
    ...indexes.map(([oid, name]): [string, string] => [`SELECT bt_index_check(${oid}::oid::regclass)`, String(name)]),
    ...tables.map(([oid, name]): [string, string] => [
      `SELECT blkno, offnum, msg FROM verify_heapam(${oid}::oid::regclass) LIMIT 3`,
      String(name),
    ]),
  ]
  let wrong = 0
  for (const [text, name] of checks) {
    try {
      const rows = await server.ask(text, database)
      const found = text.includes('verify_heapam') ? rows : []
      for (const row of found) into.failures.push(`${database}: ${name}: ${row.join(' ')}`)
      wrong += found.length
    } catch (error) {
      wrong++
      into.failures.push(`${database}: ${name}: ${messageOf(error)}`)
    }
  }
  if (wrong === 0) into.passed.push(`${database}: amcheck of ${indexes.length} indexes and ${tables.length} tables`)
}

const relations = (server: RestoredServer, database: string, kinds: string): ReturnType<RestoredServer['ask']> =>
  server.ask(
    `SELECT c.oid, c.oid::regclass FROM pg_class c JOIN pg_am a ON a.oid = c.relam
     WHERE c.relkind IN (${kinds}) AND c.relpersistence = 'p' AND a.amname = 'heap' ORDER BY c.oid`,
    database,
  )

async function readEverything(
  server: RestoredServer,
  database: string,
  checksums: boolean,
  into: Results,
): Promise<void> {
  const tables = await relations(server, database, "'r', 'm', 't'")
  let wrong = 0
  for (const [, name] of tables) {
    try {
      await server.ask(`SELECT count(*) FROM ${name}`, database)
    } catch (error) {
      wrong++
      into.failures.push(`${database}: ${name}: ${messageOf(error)}`)
    }
  }
  if (wrong === 0)
    into.passed.push(
      `${database}: ${tables.length} tables read${checksums ? ', with the checksums of their pages' : ''}`,
    )
}

async function runQuery({ server, database }: CheckRequest, query: string, into: Results): Promise<void> {
  try {
    const rows = await server.ask(query, database)
    const isFalse = rows.length === 1 && rows[0]?.length === 1 && rows[0][0] === 'f'
    if (isFalse) into.failures.push(`query is false: ${query}`)
    else into.passed.push(`query: ${query}: ${rows.length === 1 ? (rows[0] ?? []).join(' | ') : `${rows.length} rows`}`)
  } catch (error) {
    into.failures.push(`query: ${query}: ${messageOf(error)}`)
  }
}

async function checkPages(program: string, { data, owner }: Place, into: Results): Promise<void> {
  const child = spawn(program, ['--check', '-D', data], {
    ...(owner ? { uid: owner.uid, gid: owner.gid } : {}),
    cwd: '/',
    env: { LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (said += bytes.toString()))
  const [status] = (await once(child, 'close')) as [number | null]
  const blocks = /Blocks scanned:\s+(\d+)/.exec(said)?.[1]
  if (status === 0) into.passed.push(`pg_checksums: ${blocks ?? 'all'} blocks`)
  else into.failures.push(`pg_checksums: ${said.trim().slice(-2000)}`)
}
