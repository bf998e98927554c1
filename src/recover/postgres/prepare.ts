import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { TidemarkError } from '../../base/errors.ts'
import type { Clock } from '../../base/clock.ts'
import { syncFolder } from '../../base/sync-folder.ts'
import { dataFolder, tablespaceFolder } from '../../format/postgres-tree.ts'
import { formatLsn, lsn } from '../../model/lsn.ts'
import { type TreePath, treePath } from '../../model/path.ts'
import type { RestoreOrigin } from '../origin.ts'
import type { RestoreProgress } from '../progress.ts'
import type { RestoreReceipt } from '../receipt.ts'
import { restore } from '../restore.ts'
import { stateFolderName, unfinishedRestore } from '../state-folder.ts'
import { folderOrigin } from './folder-origin.ts'
import { checkWay, controlFile, heldControlFile, namesIn, type Place, stateOf } from './place.ts'
import type { RecoveryPlan } from './plan.ts'
import { restoreCommand } from './restore-command.ts'
import { automaticFile, configurationFile, type SettingChange, settle, standbyLimits } from './settings.ts'

export interface PrepareRequest {
  /** What the source is called. */
  readonly source: string
  readonly plan: RecoveryPlan
  readonly place: Place
  readonly resume: boolean
  /** Stop where the target is reached, for a look, and do not open for writing. */
  readonly pause: boolean
  readonly socketFolder: string
  readonly port: number
  readonly libraryFolders: readonly string[] | undefined
  /** Of sh: brings the WAL file `$1` into the folder `$2`. */
  readonly fetchCommand: string
}

export interface PrepareParts {
  /** At the point `plan.base`. */
  readonly origin: RestoreOrigin
  readonly clock: Clock
  readonly tell: (progress: RestoreProgress) => void
}

export interface Prepared {
  readonly receipts: readonly RestoreReceipt[]
  readonly changes: readonly SettingChange[]
}

/** Beside what the server itself keeps there: the script, its WAL, the socket, the log. */
export const ownFolder = 'tidemark'
export const walCacheFolder = (data: string): string => join(data, ownFolder, 'wal')

/**
 * Makes a data directory that a server of that major version starts on and recovers to the target of the plan. Until the
 * very last step it lacks global/pg_control, without which no server starts. What was interrupted is gone on with by `resume`.
 */
export async function prepareCluster(
  request: PrepareRequest,
  parts: PrepareParts,
  signal: AbortSignal,
): Promise<Prepared> {
  const { plan, place, resume } = request
  checkWay(place)
  const state = stateOf(place, resume)
  const receipts: RestoreReceipt[] = []
  if (state !== 'restored') receipts.push(await restoreData(request, parts, signal))
  checkSame(place.data, plan)
  closeFolder(place)
  for (const [oid, folder] of place.tablespaces) {
    const receipt = await restoreTablespace(request, oid, folder, parts, signal)
    if (receipt) receipts.push(receipt)
  }
  mapTablespaces(place)
  makeOwnFolder(request)
  const changes = settle(place.data, {
    major: majorOf(plan),
    recoverTo: request.pause ? pausingAt(plan) : plan.recoverTo,
    timeline: plan.timeline,
    pause: request.pause,
    socketFolder: request.socketFolder,
    port: request.port,
    atLeast: limitsOf(plan),
    libraryFolders: request.libraryFolders,
  })
  closeToOthers(place)
  writeOwned(place, 'recovery.signal', '')
  openControl(place)
  return { receipts, changes }
}

export const majorOf = ({ baseline }: Pick<RecoveryPlan, 'baseline'>): number => Math.floor(baseline.version / 10_000)

/** Recovery without a target does not pause: it then stops at the last entry known, behind which nothing is visible. */
function pausingAt({ recoverTo, kept }: RecoveryPlan): RecoveryPlan['recoverTo'] | 'consistent' {
  if (recoverTo !== 'end') return recoverTo
  return kept === undefined ? 'consistent' : { lsn: kept.start, inclusive: true }
}

const limitsOf = ({ baseline: { properties } }: RecoveryPlan): Record<string, number> =>
  Object.fromEntries(
    standbyLimits
      .map((name): [string, number] => [name, Number(properties[name])])
      .filter(([, value]) => Number.isInteger(value)),
  )

/** Files that are of the server that ran, and are not to be taken over. */
const leftOut =
  /^(?:postmaster\.(?:pid|opts)|standby\.signal|recovery\.signal|recovery\.(?:conf|done)|pg_replslot\/.*|\.tidemark-.*)$/

function restoreData(
  { source, plan, place, resume }: PrepareRequest,
  { origin, clock, tell }: PrepareParts,
  signal: AbortSignal,
): Promise<RestoreReceipt> {
  const folder = folderOrigin(origin, dataFolder(plan.baseline.number), {
    owner: place.owner,
    leaveOut: (path, isSymlink) => leftOut.test(path) || (isSymlink && path.startsWith('pg_tblspc/')),
    renamed: new Map([[treePath(controlFile), treePath(heldControlFile)]]),
  })
  const paths: TreePath[] = []
  return restore({ source, paths, target: place.data, resume }, { origin: folder, clock, tell }, signal)
}

/** Its link stands before it is begun, so that a tablespace that has one and is not unfinished is done. */
async function restoreTablespace(
  { source, plan, place, resume }: PrepareRequest,
  oid: number,
  target: string,
  { origin, clock, tell }: PrepareParts,
  signal: AbortSignal,
): Promise<RestoreReceipt | undefined> {
  const isLinked = namesIn(join(place.data, 'pg_tblspc')).includes(String(oid))
  const held = namesIn(target).filter((name) => name !== stateFolderName)
  if (isLinked && held.length > 0 && unfinishedRestore(target) === undefined) return undefined
  if (!isLinked) symlinkSync(target, join(place.data, 'pg_tblspc', String(oid)))
  if (place.owner && !existsSync(dirname(target))) mkdirSync(dirname(target), { recursive: true, mode: 0o755 })
  const folder = folderOrigin(origin, tablespaceFolder(plan.baseline.number, oid), { owner: place.owner })
  return await restore({ source, paths: [], target, resume }, { origin: folder, clock, tell }, signal)
}

/** What is gone on with must be the baseline of the plan. */
function checkSame(data: string, { baseline }: RecoveryPlan): void {
  const label = readFileSync(join(data, 'backup_label'), 'utf8')
  if (label.startsWith(`START WAL LOCATION: ${formatLsn(lsn(baseline.start))} `)) return
  throw new TidemarkError('target-not-empty', {
    message: `${data} holds another baseline than number ${baseline.number}, which this point needs`,
    hint: 'go on with the point that it was begun with, or choose an empty directory',
  })
}

/** The server makes the links anew from this file at its first start. */
function mapTablespaces(place: Place): void {
  const lines = Array.from(
    place.tablespaces,
    ([oid, folder]) => `${oid} ${folder.replaceAll(/[\n\r\\]/g, String.raw`\$&`)}\n`,
  )
  if (lines.length > 0) writeOwned(place, 'tablespace_map', lines.join(''))
  else rmSync(join(place.data, 'tablespace_map'), { force: true })
}

function makeOwnFolder({ place, socketFolder, fetchCommand }: PrepareRequest): void {
  for (const folder of [join(place.data, ownFolder), walCacheFolder(place.data), socketFolder]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    chmodSync(folder, 0o700)
    if (place.owner) chownSync(folder, place.owner.uid, place.owner.gid)
  }
  writeOwned(place, join(ownFolder, 'restore-command'), restoreCommand(fetchCommand))
}

/**
 * Nobody comes in but over the socket. That is in a folder of mode 0700, and has mode 0700 itself, so it lets in the user of the
 * server and root, who could read the files anyway: `trust` gives away nothing, and needs no names of roles.
 */
function closeToOthers(place: Place): void {
  const file = join(place.data, 'pg_hba.conf')
  const before = join(place.data, ownFolder, 'pg_hba.conf.before')
  if (existsSync(file) && !existsSync(before)) renameSync(file, before)
  writeOwned(place, 'pg_hba.conf', 'local all all trust\nlocal replication all trust\n')
  if (!existsSync(join(place.data, 'pg_ident.conf'))) writeOwned(place, 'pg_ident.conf', '')
  for (const name of [configurationFile, automaticFile]) own(place, join(place.data, name))
}

/** A server refuses a data directory that others may enter, beyond reading by its group. */
function closeFolder(place: Place): void {
  if ((statSync(place.data).mode & 0o027) !== 0) chmodSync(place.data, 0o700)
  own(place, place.data)
}

function openControl(place: Place): void {
  for (const name of ['', ownFolder, 'global']) syncFolder(join(place.data, name))
  renameSync(join(place.data, heldControlFile), join(place.data, controlFile))
  syncFolder(join(place.data, 'global'))
}

function writeOwned(place: Place, name: string, content: string): void {
  const file = join(place.data, name)
  writeFileSync(file, content, { mode: 0o600, flush: true })
  own(place, file)
}

function own({ owner }: Place, file: string): void {
  if (owner) chownSync(file, owner.uid, owner.gid)
}
