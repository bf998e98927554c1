import type { Clock } from '../../base/clock.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { connect, type Connecting, type Connection } from './protocol/connection.ts'
import { findPassword } from './protocol/password.ts'
import { identifySystem, show, type SystemIdentity, walSegmentBytes } from './protocol/replication.ts'
import type { PostgresTarget } from './protocol/target.ts'
import { parsePostgresUrls } from './protocol/url.ts'

/** Who this process is: what a URL leaves out, and where passwords are. */
export interface Account {
  readonly user: string
  readonly homeFolder: string
  /** PGPASSWORD and PGPASSFILE. */
  readonly environment: Readonly<Record<string, string | undefined>>
}

export interface ServerRequest {
  readonly url: string
  readonly account: Account
  /** What pg_stat_replication shows, and synchronous_standby_names matches. */
  readonly applicationName: string
  readonly clock: Clock
  readonly random: Random
}

/** The member of a cluster that is written to, with the connections to it. */
export interface Server extends AsyncDisposable {
  readonly target: PostgresTarget
  readonly sql: Connection
  readonly replication: Connection
  readonly identity: SystemIdentity
  readonly segmentBytes: number
  /** `server_version_num` */
  readonly version: number
}

/** Of several servers that are no standby, the one that was promoted last: an old primary may have come back. */
export async function openServer(request: ServerRequest, signal: AbortSignal): Promise<Server> {
  const targets = parsePostgresUrls(request.url, request.account.user)
  const tried = await Promise.allSettled(targets.map((target) => openMember(request, target, signal)))
  const primaries = tried.flatMap((one) => (one.status === 'fulfilled' && one.value ? [one.value] : []))
  primaries.sort((a, b) => b.identity.timeline - a.identity.timeline)
  const [newest, ...older] = primaries
  await Promise.all(older.map((server) => server[Symbol.asyncDispose]()))
  if (newest) return newest
  const refused = tried.find((one) => one.status === 'rejected')
  if (refused?.reason instanceof TidemarkError && tried.length === 1) throw refused.reason
  const why = tried.map((one) => (one.status === 'rejected' ? messageOf(one.reason) : 'a standby'))
  throw new TidemarkError('unreachable', {
    message: `no server that is written to: ${why.join('; ')}`,
    hint: 'it is tried again; promote a standby, or start the primary',
  })
}

/** Undefined for a standby. */
async function openMember(
  request: ServerRequest,
  target: PostgresTarget,
  signal: AbortSignal,
): Promise<Server | undefined> {
  await using opened = new AsyncDisposableStack()
  const sql = opened.use(await openConnection(request, target, 'database', signal))
  const [recovering] = await sql.query('SELECT pg_catalog.pg_is_in_recovery()', signal)
  if (recovering?.rows[0]?.[0] !== 'f') return undefined
  const replication = opened.use(await openConnection(request, target, 'replication', signal))
  const parts = {
    target,
    sql,
    replication,
    identity: await identifySystem(replication),
    segmentBytes: await walSegmentBytes(replication),
    version: Number(await show(replication, 'server_version_num')),
  }
  const kept = opened.move()
  return { ...parts, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

export async function openConnection(
  { account, applicationName, clock, random }: Omit<ServerRequest, 'url'>,
  target: PostgresTarget,
  purpose: Connecting['purpose'],
  signal: AbortSignal,
): Promise<Connection> {
  const password = await findPassword(target, { ...account, purpose })
  return await connect({ target, password, purpose, applicationName, clock, random }, signal)
}
