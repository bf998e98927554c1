import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import { moment } from '../model/moment.ts'
import { forgetOldHistory, ForgetTurns, freeChunks } from '../vault/retention/forget.ts'
import type { Vault } from '../vault/vault.ts'
import type { HeldPoints } from './held-points.ts'
import type { Derived } from './derived.ts'
import type { RunParts } from './run.ts'

/** Between looks at what has left its window. */
const checkMs = 60_000
/** Chunks may be left over that nothing was forgotten of: sent and never referred to, or of a source that was removed. */
const collectMs = 3_600_000
/** So many times as long as a collection took, none follows: in a large vault it reads much. */
const collectRests = 20

export interface RetentionParts extends RunParts {
  readonly held: HeldPoints
}

/**
 * Forgets what has left its window, until `signal` aborts: segments and rows of old history, whole sources whose
 * protection ended longer ago than their window, and the chunks that nothing refers to any more. A failure is told and
 * tried again at a later look.
 */
export async function keepRetention(
  derived: Derived,
  vault: Vault,
  parts: RetentionParts,
  signal: AbortSignal,
): Promise<void> {
  const { clock, tell } = parts
  const turns = new CollectionTurns(clock)
  const forgetTurns = new ForgetTurns(clock)
  const trying = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (!signal.aborted) tell(`${what}, it is tried again: ${messageOf(error)}`)
    }
  }
  while (!signal.aborted) {
    await clock.sleep(checkMs, signal).catch(() => undefined)
    if (signal.aborted) return
    await trying('old history could not be forgotten', async () => {
      if (await forget(derived, vault, forgetTurns, parts, signal)) turns.soon()
    })
    if (!signal.aborted && turns.isDue) {
      await trying('packs could not be collected', () => turns.take(() => collect(derived, vault, parts, signal)))
    }
  }
}

/** When packs are collected: soon after something was forgotten, and otherwise from time to time. */
class CollectionTurns {
  readonly #clock: Clock
  #dueMs: number
  #restedMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#dueMs = clock.monotonicMs() + collectMs
  }

  soon(): void {
    this.#dueMs = 0
  }

  get isDue(): boolean {
    return this.#clock.monotonicMs() >= Math.max(this.#dueMs, this.#restedMs)
  }

  async take(collecting: () => Promise<void>): Promise<void> {
    const beganMs = this.#clock.monotonicMs()
    try {
      await collecting()
    } finally {
      const endedMs = this.#clock.monotonicMs()
      this.#dueMs = endedMs + collectMs
      this.#restedMs = endedMs + (endedMs - beganMs) * collectRests
    }
  }
}

/** True where something was forgotten. */
async function forget(
  derived: Derived,
  vault: Vault,
  turns: ForgetTurns,
  { clock, tell, held }: RetentionParts,
  signal: AbortSignal,
): Promise<boolean> {
  const now = moment(clock.now())
  const nameOf = (source: string): string => vault.registry.sources.find(({ id }) => id === source)?.name ?? source
  const over = vault.registry.sources.filter(
    ({ id, retired, policy }) =>
      retired !== undefined && retired + policy.windowMs * 1000 < now && held.earliest(id) === undefined,
  )
  for (const { id, name } of over) {
    await vault.removeSource(id)
    await derived.remove(id)
    tell(`${name} is forgotten: its protection ended longer ago than its window`)
  }
  const { sources, failures } = await forgetOldHistory(
    { vault, indexes: derived.indexes, turns, held: (source) => held.earliest(source) },
    now,
    signal,
  )
  for (const { source, keptFrom } of sources) tell(`${nameOf(source)}: points are kept from seq:${keptFrom} on`)
  for (const { source, reason } of failures)
    tell(`${nameOf(source)}: its old history could not be forgotten: ${messageOf(reason)}`)
  return over.length > 0 || sources.length > 0
}

async function collect(derived: Derived, vault: Vault, { tell }: RunParts, signal: AbortSignal): Promise<void> {
  await vault.endOldAppenders()
  const { bytes, packsRemoved, damage } = await freeChunks({ vault, indexes: derived.indexes }, signal)
  if (packsRemoved > 0) tell(`${bytes} bytes of packs were freed`)
  for (const one of damage) tell(`DAMAGE: ${one.message}`)
}
