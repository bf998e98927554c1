import { messageOf } from '../base/errors.ts'
import { moment } from '../model/moment.ts'
import { forgetOldHistory, freeChunks } from '../vault/retention/forget.ts'
import type { Vault } from '../vault/vault.ts'
import type { Derived } from './derived.ts'
import type { RunParts } from './run.ts'

/** Between looks at what has left its window. */
const checkMs = 60_000

/**
 * Forgets what has left its window, until `signal` aborts: segments, rows and chunks of old history, and whole sources
 * whose protection ended longer ago than their window. A failure is told and tried again at the next look.
 */
export async function keepRetention(
  derived: Derived,
  vault: Vault,
  parts: RunParts,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await parts.clock.sleep(checkMs, signal).catch(() => undefined)
    if (signal.aborted) return
    try {
      await forget(derived, vault, parts, signal)
    } catch (error) {
      if (!signal.aborted) parts.tell(`old history could not be forgotten, it is tried again: ${messageOf(error)}`)
    }
  }
}

async function forget(derived: Derived, vault: Vault, { clock, tell }: RunParts, signal: AbortSignal): Promise<void> {
  const now = moment(clock.now())
  const nameOf = (source: string): string => vault.registry.sources.find(({ id }) => id === source)?.name ?? source
  const over = vault.registry.sources.filter(
    ({ retired, policy }) => retired !== undefined && retired + policy.windowMs * 1000 < now,
  )
  for (const { id, name } of over) {
    await vault.removeSource(id)
    await derived.remove(id)
    tell(`${name} is forgotten: its protection ended longer ago than its window`)
  }
  await vault.endOldAppenders()
  const { sources, failures, collected } = await forgetOldHistory({ vault, indexes: derived.indexes }, now, signal)
  for (const { source, keptFrom } of sources) tell(`${nameOf(source)}: points are kept from seq:${keptFrom} on`)
  for (const { source, reason } of failures)
    tell(`${nameOf(source)}: its old history could not be forgotten: ${messageOf(reason)}`)
  const freed =
    collected ?? (over.length > 0 ? await freeChunks({ vault, indexes: derived.indexes }, signal) : undefined)
  if (freed === undefined) return
  tell(`${freed.bytes} bytes of packs were freed`)
  for (const damage of freed.damage) tell(`DAMAGE: ${damage.message}`)
}
