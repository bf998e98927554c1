import type { Clock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { SourceDefinition } from '../../model/source.ts'
import { takeOut } from './commit-waiting.ts'
import type { PostgresTarget } from './protocol/target.ts'
import { parsePostgresUrls } from './protocol/url.ts'
import { type Account, openConnection, type ServerRequest } from './server.ts'
import { slotOf } from './slot.ts'
import { removeSlot } from './slot-removal.ts'

export interface ReleaseParts {
  readonly account: Account
  readonly clock: Clock
  readonly random: Random
}

/**
 * Takes back at every member of a source's cluster what its capture has set: first our name from synchronous_standby_names, so
 * that commits go on, then the slot. Repeating it is harmless. Rejects when all have been tried and one of them failed.
 */
export async function releasePostgres(
  source: SourceDefinition,
  parts: ReleaseParts,
  signal: AbortSignal,
): Promise<void> {
  const name = slotOf(source)
  const url = source.postgres?.url
  if (url === undefined) throw new TidemarkError('bad-request', { message: `${source.name} has no server` })
  const request = { ...parts, applicationName: name }
  const members = parsePostgresUrls(url, parts.account.user)
  const released = await Promise.allSettled(members.map((member) => releaseMember(request, member, signal)))
  for (const one of released) if (one.status === 'rejected') throw one.reason
}

async function releaseMember(
  request: Omit<ServerRequest, 'url'>,
  member: PostgresTarget,
  signal: AbortSignal,
): Promise<void> {
  const { applicationName, clock } = request
  await using sql = await openConnection(request, member, 'database', signal)
  await takeOut(sql, applicationName, clock, signal)
  await removeSlot(sql, applicationName, clock, signal)
}
