import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { TidemarkError } from '../../../base/errors.ts'
import type { Clock } from '../../../base/clock.ts'
import { lsn } from '../../../model/lsn.ts'
import type { RestorePoint } from '../../../model/recovery-point.ts'
import type { RestoreOrigin } from '../../origin.ts'
import type { RestoreProgress } from '../../progress.ts'
import { unfinishedRestore } from '../../state-folder.ts'
import { Past } from '../../../postgres-past/past.ts'
import type { RecoveryPlan } from '../plan.ts'
import { choosePlace, isHeld, type Place, type ServerUser } from '../place.ts'
import { ownFolder, prepareCluster } from '../prepare.ts'
import { overrule } from '../settings.ts'
import type { TreeReader } from '../../../postgres-past/tree-reader.ts'
import { socketPathBytesMax } from '../walsender/server.ts'

/** Where the parts of a standby are in its data directory, and what it was told when it was made. */
export const feedFolder = (data: string): string => join(data, ownFolder, 'feed')
export const socketFolder = (data: string): string => join(data, ownFolder, 'socket')
export const controlSocket = (data: string): string => join(data, ownFolder, 'control.sock')
export const lockFile = (data: string): string => join(data, ownFolder, 'standby.lock')
const noteFile = (data: string): string => join(data, ownFolder, 'standby.json')

const note = z.object({
  /** Id of the source. */
  source: z.string(),
  systemId: z.string(),
  version: z.int(),
  port: z.int(),
})
export type StandbyNote = z.infer<typeof note>

/** What stands in a directory. `promoted` is a server of its own now. */
export type StandbyState =
  | { readonly kind: 'absent' }
  | ({ readonly kind: 'standby' } & StandbyNote)
  | { readonly kind: 'promoted' }

export function readStandby(data: string): StandbyState {
  if (!existsSync(noteFile(data))) return { kind: 'absent' }
  if (!existsSync(join(data, 'standby.signal'))) return { kind: 'promoted' }
  return { kind: 'standby', ...note.parse(JSON.parse(readFileSync(noteFile(data), 'utf8'))) }
}

export interface MakeStandby {
  /** Id of the source. */
  readonly source: string
  readonly data: string
  readonly owner: ServerUser | undefined
  readonly port: number
  /** Addresses that the server listens on, for those whom the source's own pg_hba.conf lets in; empty for none. */
  readonly listen: string
  readonly libraryFolders: (version: number) => readonly string[]
}

export interface MakeParts {
  readonly tree: TreeReader
  readonly origin: (point: RestorePoint) => Promise<RestoreOrigin>
  readonly clock: Clock
  readonly tell: (progress: RestoreProgress) => void
}

/** Restores the newest baseline and makes it follow the walsender that will be in its `feedFolder`. */
export async function makeStandby(request: MakeStandby, parts: MakeParts, signal: AbortSignal): Promise<StandbyNote> {
  const { data, owner, port, listen } = request
  checkPathLength(data, port)
  const past = await Past.read(parts.tree, 'latest')
  const period = await past.newest()
  const { baseline, view } = period
  const base = await past.base(period)
  const place = choosePlace(data, baseline, new Map(), owner)
  const plan: RecoveryPlan = {
    baseline,
    base,
    view,
    timeline: past.timeline,
    recoverTo: 'end',
    kept: undefined,
    firstDropped: undefined,
    droppedCommits: 0,
    wal: [],
    walBytes: 0,
    walEnd: lsn(baseline.end),
    notes: [],
  }
  await prepareCluster(
    {
      source: request.source,
      plan,
      place,
      resume: unfinishedRestore(data) !== undefined || isHeld(data),
      pause: false,
      socketFolder: socketFolder(data),
      port,
      libraryFolders: request.libraryFolders(baseline.version),
      fetchCommand: 'false',
    },
    { origin: await parts.origin(base), clock: parts.clock, tell: parts.tell },
    signal,
  )
  follow(place, baseline.version)
  if (listen !== '') listenTo(place, listen)
  const made: StandbyNote = { source: request.source, systemId: baseline.systemId, version: baseline.version, port }
  // From here on it is a standby, and gone on with.
  renameSync(join(data, 'recovery.signal'), join(data, 'standby.signal'))
  writeFileSync(noteFile(data), `${JSON.stringify(made)}\n`, { mode: 0o600, flush: true })
  return made
}

function follow({ data, owner }: Place, version: number): void {
  overrule(data, {
    restore_command: '',
    recovery_target_timeline: 'latest',
    hot_standby: 'on',
    wal_retrieve_retry_interval: '100ms',
    wal_receiver_status_interval: '1s',
    wal_receiver_timeout: '30s',
    hot_standby_feedback: 'off',
    ...(version >= 130_000 ? { wal_receiver_create_temp_slot: 'off' } : {}),
  })
  rmSync(join(data, ownFolder, 'restore-command'), { force: true })
  mkdirSync(feedFolder(data), { recursive: true, mode: 0o700 })
  chmodSync(feedFolder(data), 0o700)
  if (owner) chownSync(feedFolder(data), owner.uid, owner.gid)
}

/** Over the network those come in whom the source's own rules let in; the private socket stays as it is. */
function listenTo({ data, owner }: Place, listen: string): void {
  overrule(data, { listen_addresses: listen })
  const before = join(data, ownFolder, 'pg_hba.conf.before')
  const rules = existsSync(before) ? readFileSync(before, 'utf8') : ''
  const file = join(data, 'pg_hba.conf')
  writeFileSync(
    file,
    `local all all trust\nlocal replication all trust\n# What follows is the source's own.\n${rules}`,
    {
      mode: 0o600,
    },
  )
  if (owner) chownSync(file, owner.uid, owner.gid)
}

/** Before anything is restored: sockets have short paths. */
function checkPathLength(data: string, port: number): void {
  const longest = join(socketFolder(data), `.s.PGSQL.${port}`)
  if (Buffer.byteLength(longest) <= socketPathBytesMax) return
  throw new TidemarkError('bad-request', {
    message: `${data} is too long: the sockets of a standby in it would have paths of more than ${socketPathBytesMax} bytes`,
    hint: 'name a directory with a shorter path',
  })
}
