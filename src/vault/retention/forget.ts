import type { Clock } from '../../base/clock.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import type { Collected } from '../collect.ts'
import type { IndexThread } from '../index/index-thread.ts'
import type { Vault } from '../vault.ts'
import type { ChunkFilter } from './chunk-filter.ts'

export interface Forgotten {
  /** Sources whose history became shorter, each with the sequence from which on points are kept now. */
  readonly sources: readonly { readonly source: Id; readonly keptFrom: Sequence }[]
  /** Sources of which nothing could be forgotten, and why; the others are not held up by them. */
  readonly failures: readonly { readonly source: Id; readonly reason: unknown }[]
}

/** So many times as long as forgetting took, the same source rests: each time its whole tree is told in a checkpoint. */
const forgetRests = 20

/** When it is a source's turn again. */
export class ForgetTurns {
  readonly #clock: Clock
  readonly #restedMs = new Map<Id, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  isDue(source: Id): boolean {
    return this.#clock.monotonicMs() >= (this.#restedMs.get(source) ?? 0)
  }

  /** Where nothing was forgotten, nothing was told, and no rest is needed. */
  async take(source: Id, forget: () => Promise<Sequence | undefined>): Promise<Sequence | undefined> {
    const beganMs = this.#clock.monotonicMs()
    const keptFrom = await forget()
    const endedMs = this.#clock.monotonicMs()
    if (keptFrom === undefined) this.#restedMs.delete(source)
    else this.#restedMs.set(source, endedMs + (endedMs - beganMs) * forgetRests)
    return keptFrom
  }
}

export interface ForgetParts {
  readonly vault: Vault
  readonly indexes: IndexThread
  readonly turns: ForgetTurns
  /** The earliest point of a source that is being read: it is kept, and all later ones. */
  readonly held: (source: Id) => Moment | undefined
}

/** Forgets, of every source whose turn it is, what has left its window at `now`; `freeChunks` then frees what only that referred to. */
export async function forgetOldHistory(
  { vault, indexes, turns, held }: ForgetParts,
  now: Moment,
  signal: AbortSignal,
): Promise<Forgotten> {
  const sources: { source: Id; keptFrom: Sequence }[] = []
  const failures: { source: Id; reason: unknown }[] = []
  for (const { id: source, policy } of vault.registry.sources) {
    signal.throwIfAborted()
    const windowBegins = moment(Math.max(0, now - policy.windowMs * 1000))
    const before = moment(Math.min(windowBegins, held(source) ?? windowBegins))
    try {
      if (!turns.isDue(source)) continue
      const keptFrom = await turns.take(source, () => indexes.retain(source, before, signal))
      if (keptFrom !== undefined) sources.push({ source, keptFrom })
    } catch (reason) {
      signal.throwIfAborted()
      failures.push({ source, reason })
    }
  }
  return { sources, failures }
}

/** Removes the chunks that no kept history refers to: of what was forgotten, of sources removed, or never referred to. */
export function freeChunks(
  { vault, indexes }: { readonly vault: Vault; readonly indexes: IndexThread },
  signal: AbortSignal,
): Promise<Collected> {
  let filter: ChunkFilter | undefined
  // What is in use is looked up once the collection has begun: it has to know all that was durable then.
  return vault.collect(async (ids) => {
    const inUse = (filter ??= await indexes.chunksInUse(signal))
    return ids.map((id) => inUse.has(id))
  }, signal)
}
