import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { ApiClient } from '../api/client.ts'
import { apiPath } from '../api/client.ts'
import type { SourceStatus } from '../api/schemas.ts'
import { fromAbsolute, toBuffer, type TreePath } from '../model/path.ts'
import { dataFolder } from '../format/postgres-tree.ts'
import type { Moment } from '../model/moment.ts'
import { preflightFact as fact } from '../model/preflight.ts'
import { parsePostgresPoint } from '../model/postgres-point.ts'
import { checkWay, choosePlace, stateOf } from '../recover/postgres/place.ts'
import { planRecovery } from '../recover/postgres/plan.ts'
import { majorOf } from '../recover/postgres/prepare.ts'
import { findServer, serverUser } from '../recover/postgres/server-programs.ts'
import {
  foreseeDuration,
  foreseeFiles,
  foreseen,
  foreseeWriting,
  type Foreseen,
  refusal,
  roomEnough,
  targetFree,
} from '../recover/preflight.ts'
import { checkRoom, roomAt } from '../recover/target.ts'
import { chosenState } from '../recover/volume/restore-volume.ts'
import { apiOrigin } from './api-origin.ts'
import { apiVolume } from './api-volume.ts'
import { formatTable } from './format.ts'
import { exitStatus, type Parts } from './parts.ts'
import { apiTreeReader } from './tree-reader.ts'

export interface Preflight {
  readonly status: SourceStatus
  readonly at: string
  readonly target: string
  readonly paths: readonly string[]
  readonly start: boolean
  readonly isInPlace: boolean
  readonly pgBin: string | undefined
  readonly user: string | undefined
}

/** What a restore would meet here, all of it at once; writes nothing. */
export async function preflight(client: ApiClient, asked: Preflight, json: boolean, parts: Parts): Promise<void> {
  const rows = await foresee(client, asked, parts)
  if (rows.some(({ verdict }) => verdict === 'refused') && !json) parts.exitWith(exitStatus.failed)
  parts.out.write(json ? `${JSON.stringify({ preflight: rows })}\n` : describe(rows))
}

function foresee(client: ApiClient, asked: Preflight, parts: Parts): Promise<Foreseen[]> {
  switch (asked.status.kind) {
    case 'files':
      return foreseeTree(client, asked, parts)
    case 'postgres':
      return foreseePostgres(client, asked, parts)
    case 'volume':
      return foreseeVolume(client, asked, parts)
  }
}

async function foreseeTree(
  client: ApiClient,
  { status: { name, paths: places }, at, target, paths, isInPlace }: Preflight,
  { clock, signal }: Parts,
): Promise<Foreseen[]> {
  const origin = await apiOrigin(client, name, at, signal)
  const wanted = paths.length > 0 ? paths : places
  // Beside the original, until it is whole.
  const where = isInPlace ? dirname(wanted[0] as string) : target
  const request = { source: name, target: where, paths: paths.map(fromAbsolute) }
  const { rows, totals, largest } = await foreseeFiles(request, origin)
  const still = `seq:${(await origin.resolve()).at}`
  const duration = await foreseeDuration(read(client, name, still, largest, signal), totals, clock)
  if (!isInPlace) return [...rows, duration]
  const replaced = wanted.filter((path) => existsSync(path))
  return [
    replaced.length === 0
      ? {
          check: 'overwrites',
          verdict: 'good',
          ...fact('original-free', {}),
          message: 'nothing is at the original place now',
        }
      : {
          check: 'overwrites',
          verdict: 'warning',
          ...fact('original-replaced', { paths: replaced.join(', ') }),
          message: `what is at ${replaced.join(', ')} now is replaced`,
          hint: 'it stays beside it, with ".before-" and the place in the journal after its name, until you remove it',
        },
    ...rows.filter(({ check }) => check !== 'overwrites'),
    duration,
  ]
}

async function foreseePostgres(
  client: ApiClient,
  { status: { name }, at, target, start, pgBin, user }: Preflight,
  { clock, signal, environment }: Parts,
): Promise<Foreseen[]> {
  const tree = apiTreeReader(client, name, signal)
  const rows: Foreseen[] = []
  const planned = await unlessRefused(
    'point',
    () => planRecovery(tree, parsePostgresPoint(at, clock.now() as Moment)),
    rows,
  )
  if (planned === undefined) return rows
  const major = majorOf(planned)
  const programs = await foreseen(
    'version',
    { ...fact('version-there', { major }), message: `the programs of PostgreSQL ${major} are here` },
    () => findServer(major, pgBin, environment['PATH'] ?? ''),
  )
  rows.push(start || programs.verdict === 'good' ? programs : { ...programs, verdict: 'warning' })
  const place = await unlessRefused(
    'permission',
    () => choosePlace(target, planned.baseline, new Map(), serverUser(user)),
    rows,
  )
  if (place !== undefined) {
    rows.push(await foreseen('overwrites', targetFree(target), () => stateOf(place, false)))
    const reached = { ...fact('way-open', {}), message: 'the user of the server can reach it' }
    const way = await foreseen('permission', reached, () => checkWay(place))
    rows.push(way.verdict === 'refused' ? way : foreseeWriting(target))
  }
  const room = roomAt(target)
  const bytes = planned.baseline.bytes + planned.wal.length * planned.baseline.segmentBytes
  const totals = {
    files: planned.baseline.files,
    directories: 0,
    links: 0,
    nodes: 0,
    devices: 0,
    bytes,
    spaceBytes: bytes,
  }
  rows.push(await foreseen('room', roomEnough(bytes, room.freeBytes), () => checkRoom(target, room, totals)), {
    check: 'port',
    verdict: 'good',
    ...fact('port-none', {}),
    message: 'it listens on no network address: its socket is in its own directory, so no port is taken',
  })
  const still = `seq:${planned.base.at}`
  const origin = await apiOrigin(client, name, still, signal)
  const { largest } = await foreseeFiles({ source: name, target, paths: [dataFolder(planned.baseline.number)] }, origin)
  rows.push(await foreseeDuration(read(client, name, still, largest, signal), totals, clock))
  return rows
}

async function foreseeVolume(
  client: ApiClient,
  { status: { name }, at, target }: Preflight,
  { clock, signal }: Parts,
): Promise<Foreseen[]> {
  const origin = await apiVolume(client, name, at)
  const { bytes } = origin
  const request = { source: name, target, resume: false, delta: false, force: false }
  const room = roomAt(target)
  const totals = { files: 1, directories: 0, links: 0, nodes: 0, devices: 0, bytes, spaceBytes: bytes }
  const isThere = existsSync(target)
  const { freeBytes } = room
  const enough = {
    ...fact('image-room-enough', { neededBytes: bytes, freeBytes }),
    message: `at most ${bytes} bytes are needed, and ${freeBytes} are free`,
  }
  const needed = await foreseen('room', enough, () => (isThere ? undefined : checkRoom(target, room, totals)))
  const free = { ...fact('image-free', { path: target }), message: `nothing is overwritten at ${target}` }
  return [
    await foreseen('overwrites', free, () => chosenState(request, origin)),
    // Zeros take no room in a file.
    needed.code === 'room-short'
      ? {
          ...needed,
          ...fact('image-room-short', { neededBytes: bytes, freeBytes }),
          verdict: 'warning',
          hint: 'it fits if enough of the volume is zeros; better make room first',
        }
      : needed,
    foreseeWriting(target),
    await foreseeDuration(
      read(client, name, `seq:${origin.point.at}`, [{ path: fromAbsolute('/disk') }], signal),
      { bytes, files: 1 },
      clock,
    ),
  ]
}

/** What a step gives, or its refusal as a row. */
async function unlessRefused<T>(
  check: Foreseen['check'],
  step: () => T | Promise<T>,
  rows: Foreseen[],
): Promise<T | undefined> {
  try {
    return await step()
  } catch (error) {
    rows.push(refusal(check, error))
    return undefined
  }
}

/** The bytes of files, one after the other. */
async function* read(
  client: ApiClient,
  source: string,
  at: string,
  files: readonly { readonly path: TreePath }[],
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (const { path } of files) {
    const pathBytes = toBuffer(path).toString('base64')
    const content = apiPath(`/v1/sources/${encodeURIComponent(source)}/content`, { at, pathBytes })
    yield* await client.stream('GET', content, undefined, signal)
  }
}

function describe(rows: readonly Foreseen[]): string {
  const table = formatTable(
    ['CHECK', 'VERDICT', ''],
    rows.map(({ check, verdict, message }) => [check, verdict, message]),
  )
  const hints = rows.flatMap(({ check, hint }) => (hint === undefined ? [] : [`${check}: next: ${hint}\n`]))
  return table + hints.join('')
}
