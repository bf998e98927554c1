import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { join, relative, resolve } from 'node:path'
import type { Lsn, Timeline } from '../../model/lsn.ts'
import { formatLsn } from '../../model/lsn.ts'

/**
 * The settings of a restored server. What its own files say stands, except what would hang it, harm others or keep it from starting
 * here: that is overruled in postgresql.auto.conf, which is read last. What cannot be overruled is made a comment where it stands.
 */
export interface SettingChange {
  readonly name: string
  readonly was: string
  readonly is: string
  readonly why: string
}

export interface RestoredSettings {
  readonly major: number
  readonly recoverTo: { readonly lsn: Lsn; readonly inclusive: boolean } | 'end' | 'consistent'
  readonly timeline: Timeline
  readonly pause: boolean
  readonly socketFolder: string
  readonly port: number
  /** The least that a standby of the source needs, by name. */
  readonly atLeast: Readonly<Record<string, number>>
  /** Where the libraries of the server programs are, if they are known. */
  readonly libraryFolders: readonly string[] | undefined
}

export const configurationFile = 'postgresql.conf'
export const automaticFile = 'postgresql.auto.conf'

/** What a standby must have no less of than its primary, for anyone to look while it recovers. */
export const standbyLimits = [
  'max_connections',
  'max_worker_processes',
  'max_wal_senders',
  'max_prepared_transactions',
  'max_locks_per_transaction',
] as const

interface Line {
  readonly name: string
  readonly value: string
}

/** `name = value`, `name value`, quoted or not; undefined for comments and blank lines. */
export function parseLine(text: string): Line | undefined {
  const parts = /^\s*([A-Za-z_][\w.$]*)\s*(?:=\s*|\s+)(?:'((?:[^'\\]|''|\\.)*)'|([^\s#']+))\s*(?:#.*)?$/.exec(text)
  if (parts === null) return undefined
  const [, name = '', quoted, bare] = parts
  return { name: name.toLowerCase(), value: quoted?.replaceAll("''", "'").replaceAll(/\\(.)/g, '$1') ?? bare ?? '' }
}

export const quote = (value: string): string => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`

/** What only the files themselves can say, so that overruling it does not help. */
const leftOut =
  /^(?:data_directory|config_file|hba_file|ident_file|external_pid_file|recovery_target\w*|promote_trigger_file|trigger_file)$/

const marker = '# What follows is by "tidemark restore" and overrules the settings of the source.\n'

/** Changes the settings of the data directory `data`, and tells what of the source's own is different. May be repeated. */
export function settle(data: string, wanted: RestoredSettings): SettingChange[] {
  forgetOverruled(join(data, automaticFile))
  const files = new ConfigurationFiles(data)
  files.visit(join(data, configurationFile), false)
  files.visit(join(data, automaticFile), true)
  const own = files.settings
  const overruled = overrulings(own, wanted, data)
  const block = overruled.map(({ name, is }) => `${name} = ${quote(is)}\n`).join('')
  const before = readFileSync(join(data, automaticFile), 'utf8')
  writeFileSync(
    join(data, automaticFile),
    `${before}${before === '' || before.endsWith('\n') ? '' : '\n'}${marker}${block}`,
  )
  const told = overruled.filter(({ name, is, why }) => {
    const was = own.get(name)
    return why !== '' && was !== undefined && was !== is && was !== ''
  })
  return [...files.changes, ...told.map((one) => ({ ...one, was: own.get(one.name) ?? '' }))]
}

/** What an earlier run has added is none of the source's. */
function forgetOverruled(file: string): void {
  if (!existsSync(file)) return
  const [own = '', ...added] = readFileSync(file, 'utf8').split(marker)
  if (added.length > 0) writeFileSync(file, own)
}

/** Adds to what overrules, after a start has shown that it is needed. */
export function overrule(data: string, settings: Readonly<Record<string, string | number>>): void {
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${quote(String(value))}\n`)
  writeFileSync(join(data, automaticFile), lines.join(''), { flag: 'a' })
}

/** Reads a configuration file and what it includes inside the data directory; makes comments of what must not be read. */
class ConfigurationFiles {
  readonly settings = new Map<string, string>()
  readonly changes: SettingChange[] = []
  readonly #data: string
  readonly #seen = new Set<string>()

  constructor(data: string) {
    this.#data = data
  }

  visit(file: string, mayBeAbsent: boolean): void {
    if (this.#seen.has(file)) return
    this.#seen.add(file)
    if (!existsSync(file)) {
      writeFileSync(file, '', { mode: 0o600 })
      if (!mayBeAbsent)
        this.changes.push({
          name: relative(this.#data, file),
          was: 'outside of the data directory',
          is: 'empty',
          why: 'a base backup holds only what is in the data directory: take your settings over by hand',
        })
      return
    }
    const text = readFileSync(file, 'utf8')
    const lines = text.split('\n').map((line) => this.#line(line, file))
    if (lines.join('\n') !== text) writeFileSync(file, lines.join('\n'))
  }

  #line(text: string, file: string): string {
    const line = parseLine(text)
    if (line === undefined) return text
    const comment = (why: string): string => {
      this.changes.push({ name: line.name, was: line.value, is: 'left out', why })
      return `# left out by "tidemark restore": ${text}`
    }
    if (/^include(?:_if_exists|_dir)?$/.test(line.name))
      return this.#include(line, file) ?? comment('not in the backup')
    if (leftOut.test(line.name)) return comment('it is of the place or the recovery of the source')
    this.settings.set(line.name, line.value)
    return text
  }

  /** Undefined for what must not be included: it stands outside of the data directory, or is not there. */
  #include({ name, value }: Line, from: string): string | undefined {
    const path = resolve(join(from, '..'), value)
    const inside = relative(this.#data, path)
    if (inside.startsWith('..') || !existsSync(path)) return undefined
    if (name === 'include_dir') {
      for (const entry of readdirSync(path)
        .filter((one) => /^[^.].*\.conf$/.test(one))
        .sort())
        this.visit(join(path, entry), true)
    } else if (statSync(path).isFile()) this.visit(path, true)
    return `${name} ${quote(value)}`
  }
}

interface Overruling {
  readonly name: string
  readonly is: string
  /** Empty: it is no loss. */
  readonly why: string
}

/** Libraries whose background workers act on the world outside. */
const actingLibraries = ['pg_cron', 'pgagent', 'pg_net', 'pglogical', 'bdr']

function overrulings(own: ReadonlyMap<string, string>, wanted: RestoredSettings, data: string): Overruling[] {
  const { major, pause, port, socketFolder } = wanted
  const list: Overruling[] = [
    ...recoverySettings(wanted),
    { name: 'synchronous_standby_names', is: '', why: 'every commit would wait for a standby that is not there' },
    { name: 'archive_mode', is: 'off', why: "the copy must not write into the source's archive" },
    { name: 'archive_command', is: '', why: "the copy must not write into the source's archive" },
    ...(major >= 15
      ? [{ name: 'archive_library', is: '', why: "the copy must not write into the source's archive" }]
      : []),
    { name: 'archive_cleanup_command', is: '', why: "the copy must not clean up the source's archive" },
    { name: 'recovery_end_command', is: '', why: 'it is of the recovery of the source' },
    { name: 'primary_conninfo', is: '', why: 'the copy follows no server' },
    { name: 'primary_slot_name', is: '', why: 'the copy follows no server' },
    { name: 'max_logical_replication_workers', is: '0', why: 'subscriptions would take the place of the source' },
    { name: 'listen_addresses', is: '', why: 'nobody but this user comes in, over the socket' },
    { name: 'unix_socket_directories', is: socketFolder, why: 'the socket is private to this user' },
    { name: 'unix_socket_permissions', is: '0700', why: 'the socket is private to this user' },
    { name: 'unix_socket_group', is: '', why: 'the socket is private to this user' },
    { name: 'port', is: String(port), why: 'it names the socket only' },
    { name: 'logging_collector', is: 'off', why: 'the log goes to where the server is started from' },
    { name: 'log_destination', is: 'stderr', why: 'the log goes to where the server is started from' },
    { name: 'lc_messages', is: 'C', why: 'the locale may be absent here' },
    { name: 'huge_pages', is: 'try', why: 'there may be none here' },
    { name: 'hot_standby', is: pause ? 'on' : 'off', why: '' },
  ]
  if (own.get('ssl') !== undefined && !hasKey(own, data))
    list.push({ name: 'ssl', is: 'off', why: 'its certificate or key is not in the data directory' })
  for (const name of standbyLimits) {
    const most = Math.max(Number(own.get(name) ?? 0) || 0, wanted.atLeast[name] ?? 0)
    if (most > Number(own.get(name) ?? 0)) list.push({ name, is: String(most), why: 'the source had so many' })
  }
  for (const name of ['shared_preload_libraries', 'session_preload_libraries', 'local_preload_libraries']) {
    const without = withoutLibraries(own.get(name) ?? '', wanted.libraryFolders)
    if (without !== undefined) list.push({ name, ...without })
  }
  const buffers = memoryBytes(own.get('shared_buffers') ?? '')
  if (buffers > totalmem() / 4)
    list.push({ name: 'shared_buffers', is: '128MB', why: 'this machine has less memory than the source' })
  return list
}

function recoverySettings({ recoverTo, timeline, pause }: RestoredSettings): Overruling[] {
  const list = [
    { name: 'restore_command', is: 'sh tidemark/restore-command "%f" "%p"', why: 'WAL comes from the vault' },
    { name: 'recovery_target_timeline', is: String(timeline), why: '' },
  ]
  if (recoverTo === 'end') return list
  list.push({ name: 'recovery_target_action', is: pause ? 'pause' : 'promote', why: '' })
  if (recoverTo === 'consistent') return [...list, { name: 'recovery_target', is: 'immediate', why: '' }]
  return [
    ...list,
    { name: 'recovery_target_lsn', is: formatLsn(recoverTo.lsn), why: '' },
    { name: 'recovery_target_inclusive', is: recoverTo.inclusive ? 'on' : 'off', why: '' },
  ]
}

/** Whether TLS can be had here: both files inside the data directory. */
function hasKey(own: ReadonlyMap<string, string>, data: string): boolean {
  const files = [own.get('ssl_cert_file') ?? 'server.crt', own.get('ssl_key_file') ?? 'server.key']
  return files.every((file) => !relative(data, resolve(data, file)).startsWith('..') && existsSync(resolve(data, file)))
}

/** The list without libraries that are not here or act outside; undefined where nothing is to be changed. */
function withoutLibraries(
  value: string,
  folders: readonly string[] | undefined,
): { is: string; why: string } | undefined {
  const all = value
    .split(',')
    .map((one) => one.trim().replaceAll('"', ''))
    .filter((one) => one !== '')
  const isHere = (library: string): boolean => {
    if (folders === undefined) return true
    const name = library.replace(/^\$libdir\//, '')
    if (name.startsWith('/')) return existsSync(name) || existsSync(`${name}.so`)
    return folders.some((folder) => existsSync(join(folder, name.endsWith('.so') ? name : `${name}.so`)))
  }
  const kept = all.filter((library) => isHere(library) && !actingLibraries.includes(library))
  if (kept.length === all.length) return undefined
  const gone = all.filter((library) => !kept.includes(library)).join(', ')
  return { is: kept.join(','), why: `not here, or acting on other systems: ${gone}` }
}

const memoryUnits: Record<string, number> = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 }

/** `128MB`; a bare number counts pages of 8 kB. */
function memoryBytes(text: string): number {
  const parts = /^(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)?$/.exec(text.trim())
  if (parts === null) return 0
  return Number(parts[1]) * (parts[2] === undefined ? 8192 : (memoryUnits[parts[2]] as number))
}
