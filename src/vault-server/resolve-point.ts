import { TidemarkError } from '../base/errors.ts'
import { formatMoment, type Moment } from '../model/moment.ts'
import type { RecoveryPoint } from '../model/recovery-point.ts'
import type { Id } from '../model/source.ts'
import type { Context } from './context.ts'

type Known = Pick<Context, 'vault' | 'derived' | 'clock'>

/** What a point means now; refused where it may lie in what cannot be read. */
export async function resolvePoint(known: Known, source: Id, point: string): Promise<RecoveryPoint> {
  const { vault, derived, clock } = known
  // Where what it is looked for in is not known to its end, a flush of before must not be taken for the last one.
  const flush = /^flush(?::(.+))?$/s.exec(point)
  if (flush !== null) await resolvePoint(known, source, flush[1] ?? 'latest')
  const found = await derived.views.resolve(source, point, clock.now() as Moment)
  const { endDamage, durable } = vault.journal(source)
  if (endDamage && found.sequence >= durable && !/^(?:seq|mark):/.test(point)) throw beyondDamage(endDamage, found)
  return found
}

/** What was asked for may lie behind the damage: an older tree must not be taken for it. */
const beyondDamage = (damage: TidemarkError, point: RecoveryPoint): TidemarkError =>
  new TidemarkError('damaged', {
    message: `${damage.message}; of the journal nothing after ${formatMoment(point.moment)} can be read`,
    hint: `what stood then can be had: --at seq:${point.sequence}`,
    cause: damage,
  })
