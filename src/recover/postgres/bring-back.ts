import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import { collationDifferences, collationsQuery, tellCollations } from '../../format/postgres-collations.ts'
import { formatLsn, type Lsn, noLsn } from '../../model/lsn.ts'
import type { RestorePoint } from '../../model/recovery-point.ts'
import type { RestoreOrigin } from '../origin.ts'
import type { RestoreProgress } from '../progress.ts'
import type { RestoreReceipt } from '../receipt.ts'
import { roomAt } from '../target.ts'
import type { Place } from './place.ts'
import type { RecoveryPlan } from './plan.ts'
import { ownFolder, prepareCluster, walCacheFolder } from './prepare.ts'
import { type Ask, type Reached, RestoredServer } from './server.ts'
import type { ServerPrograms } from './server-programs.ts'
import type { SettingChange } from './settings.ts'
import type { TreeReader } from '../../postgres-past/tree-reader.ts'
import { type SupplyProgress, supplyWal, WalCache } from './wal-cache.ts'

export interface BringBackRequest {
  readonly source: string
  readonly plan: RecoveryPlan
  readonly place: Place
  readonly resume: boolean
  /** Recovery stops at the target and does not open for writing. */
  readonly pause: boolean
  /** Has these start the server and waits until it has recovered; else the directory is left ready to start. */
  readonly start: ServerPrograms | undefined
  readonly port: number
  /** `all`: the WAL comes into the directory now; `on-demand`: when recovery asks for it. */
  readonly wal: 'all' | 'on-demand'
  /** Of sh: brings the WAL file `$1` into the folder `$2`. */
  readonly fetchCommand: string
  /** Where the server looks for programs. */
  readonly path: string
}

export type BringBackProgress =
  | ({ readonly kind: 'base' } & RestoreProgress)
  | ({ readonly kind: 'wal' | 'replay' } & SupplyProgress)

export interface BringBackParts {
  readonly tree: TreeReader
  readonly origin: (point: RestorePoint) => Promise<RestoreOrigin>
  readonly ask: Ask
  readonly clock: Clock
  readonly tell: (progress: BringBackProgress) => void
}

export interface BroughtBack {
  readonly receipts: readonly RestoreReceipt[]
  readonly changes: readonly SettingChange[]
  readonly socketFolder: string
  readonly port: number
  readonly log: string
  /** Where the server was started. */
  readonly running?: {
    readonly reached: Reached
    readonly replayed: Lsn
    readonly server: RestoredServer
    /** What is otherwise here than where it ran before. */
    readonly notes: readonly string[]
  }
  readonly baseMs: number
  readonly recoveryMs: number
}

/** Brings a cluster back: the baseline to its place, WAL behind it, and, where asked, the server started and at its target. */
export async function bringBack(
  request: BringBackRequest,
  parts: BringBackParts,
  signal: AbortSignal,
): Promise<BroughtBack> {
  const { plan, place, port } = request
  const { clock, tell } = parts
  const startedMs = clock.monotonicMs()
  const socketFolder = chooseSocketFolder(place.data, port)
  if (request.wal === 'all') checkRoomForLog(request)
  const origin = await parts.origin(plan.base)
  const prepared = await prepareCluster(
    { ...request, socketFolder, libraryFolders: request.start?.libraryFolders },
    { origin, clock, tell: (progress) => tell({ kind: 'base', ...progress }) },
    signal,
  )
  const preparedMs = clock.monotonicMs()
  const log = join(place.data, ownFolder, 'server.log')
  const cache = await WalCache.open({
    tree: parts.tree,
    view: plan.view.at,
    segmentBytes: plan.baseline.segmentBytes,
    folder: walCacheFolder(place.data),
    owner: place.owner,
  })
  if (request.wal === 'all') await bringAlong(cache, plan, tell, signal)
  const told = { ...prepared, socketFolder, port, log, baseMs: preparedMs - startedMs }
  if (request.start === undefined) return { ...told, recoveryMs: 0 }
  const server = new RestoredServer(
    { place, programs: request.start, socketFolder, port, log, path: request.path },
    parts.ask,
    clock,
  )
  const reached = await recover(server, cache, request, parts, signal)
  const replayed = await checkReplayed(server, plan)
  const notes = await collationNotes(server, plan)
  return { ...told, running: { reached, replayed, server, notes }, recoveryMs: clock.monotonicMs() - preparedMs }
}

/** Indexes on text may find nothing where another version of a library sorts it. */
export async function collationNotes(
  server: Pick<RestoredServer, 'ask'>,
  { baseline: { properties } }: { readonly baseline: Pick<RecoveryPlan['baseline'], 'properties'> },
): Promise<string[]> {
  const here = tellCollations(await server.ask(collationsQuery))
  return collationDifferences(properties['collations'] ?? '', here).map(
    ({ provider, was, is }) =>
      `text is sorted by ${provider} ${is} here, and was by ${was}: REINDEX every database that has indexes on text, then ALTER DATABASE … REFRESH COLLATION VERSION`,
  )
}

/** The engine looks for room for what it restores; the log comes on top. */
function checkRoomForLog({ place, plan, resume }: BringBackRequest): void {
  const room = roomAt(place.data)
  const needed = plan.wal.length * plan.baseline.segmentBytes + (resume ? 0 : plan.baseline.bytes)
  if (needed <= room.freeBytes) return
  throw new TidemarkError('no-space', {
    message: `the restore with all its WAL needs ${needed} bytes, and ${place.data} has ${room.freeBytes} free`,
    hint: 'make room, choose another target, or have WAL fetched as it is needed: --start, or --wal on-demand',
  })
}

/** All WAL of the plan into the directory, which is then enough for itself. */
async function bringAlong(
  cache: WalCache,
  { wal }: RecoveryPlan,
  tell: BringBackParts['tell'],
  signal: AbortSignal,
): Promise<void> {
  let files = 0
  await cache.bringAll(
    (function* () {
      for (const { name } of wal) {
        signal.throwIfAborted()
        yield name
        tell({ kind: 'wal', files: ++files, filesTotal: wal.length })
      }
    })(),
  )
  await cache.complete()
}

/** WAL is supplied while the server recovers. Afterwards the directory needs neither this process nor the vault. */
async function recover(
  server: RestoredServer,
  cache: WalCache,
  { plan, pause, wal }: BringBackRequest,
  { clock, tell }: BringBackParts,
  signal: AbortSignal,
): Promise<Reached> {
  if (wal === 'all') return await server.recover(pause, signal)
  const done = new AbortController()
  const supply = supplyWal(cache, plan.wal, clock, (progress) => tell({ kind: 'replay', ...progress }), done.signal)
  try {
    const reached = await server.recover(pause, signal)
    await cache.complete()
    return reached
  } finally {
    done.abort()
    await supply
    for (const { name } of plan.wal) rmSync(join(cache.folder, name), { force: true })
  }
}

/** What the server says of itself must be what the plan meant. */
async function checkReplayed(server: RestoredServer, { kept, firstDropped, recoverTo }: RecoveryPlan): Promise<Lsn> {
  const replayed = await server.replayed()
  const isShort = kept !== undefined && replayed < kept.end
  const isBeyond = recoverTo !== 'end' && firstDropped !== undefined && replayed > firstDropped.start
  if ((!isShort && !isBeyond) || replayed === noLsn) return replayed
  await server.stop()
  throw new TidemarkError('verification-failed', {
    message:
      `recovery went to ${formatLsn(replayed)}, which is ${isShort ? 'before the end of the last commit to keep' : 'beyond the first to leave out'} ` +
      `(${formatLsn((isShort ? kept?.end : firstDropped?.start) ?? noLsn)}); the server was stopped`,
    hint: 'keep its directory and its log, and report this',
  })
}

/** The path of a socket has at most 107 bytes. */
const socketPathBytesMax = 107

function chooseSocketFolder(data: string, port: number): string {
  const folder = join(data, ownFolder, 'socket')
  return Buffer.byteLength(join(folder, `.s.PGSQL.${port}`)) <= socketPathBytesMax
    ? folder
    : mkdtempSync(join(tmpdir().length > 60 ? '/tmp' : tmpdir(), 'tidemark-socket-'))
}
