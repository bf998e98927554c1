import type { Clock } from '../../base/clock.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { SourceDefinition } from '../../model/source.ts'
import { takeOut } from './commit-waiting.ts'
import { describeTarget, type PostgresTarget } from './protocol/target.ts'
import { parsePostgresUrls } from './protocol/url.ts'
import { type Account, openConnection, type ServerRequest } from './server.ts'
import { slotOf } from './slot.ts'
import { removeSlot } from './slot-removal.ts'
import { quotedText } from './sql-text.ts'

export interface ReleaseParts {
  readonly account: Account
  readonly clock: Clock
  readonly random: Random
}

/** A member that is away for longer may never come back: what is left there is told then, and not tried again by itself. */
export const releaseTriedMsMax = 3_600_000

/**
 * Takes back at every member of a source's cluster what its capture has set: first our name from synchronous_standby_names, so
 * that commits go on, then the slot. Repeating it is harmless. Rejects when all have been tried and one of them failed, with
 * what is left to be done there.
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
  const tried = await Promise.allSettled(members.map((member) => releaseMember(request, member, signal)))
  const failures = tried.flatMap((one, index) =>
    one.status === 'rejected' ? [{ member: members[index] as PostgresTarget, error: one.reason as unknown }] : [],
  )
  if (failures.length > 0) throw notReleased(source, failures, members.length)
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

/** What `releasePostgres` does at one server, for psql: it takes back what is there, and changes nothing else. */
export function releaseSql(source: { readonly id: string }): string {
  const slot = quotedText(slotOf(source))
  return [
    'SHOW synchronous_standby_names;',
    `-- where that is ${slotOf(source)} alone: ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf(); where it names others too, set it to those`,
    `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = ${slot} AND active_pid IS NOT NULL;`,
    `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ${slot};`,
  ].join('\n')
}

interface Failure {
  readonly member: PostgresTarget
  readonly error: unknown
}

function notReleased(source: SourceDefinition, failures: readonly Failure[], count: number): TidemarkError {
  const places = failures.map(({ member }) => describeTarget(member)).join(', ')
  const done = count - failures.length
  const why = failures.map(({ error }) => messageOf(error)).join('; ')
  const first = failures.map(({ error }) => error).find((error) => error instanceof TidemarkError)
  const cause = first?.hint === undefined ? '' : `${first.hint}; or `
  return new TidemarkError(first?.code ?? 'unreachable', {
    message: `${done === 0 ? 'nothing' : `${done} of ${count} members`} is let go, not ${places}: ${why}`,
    hint: `${cause}by hand, at ${places}, before it is used again:\n${releaseSql(source)}`,
    cause: first,
  })
}
