import type { SourceStatus, VaultStatus } from '../api/schemas.ts'
import type { Clock } from '../base/clock.ts'
import { isoMoment, type Moment } from '../model/moment.ts'
import type { Id, SourceDefinition } from '../model/source.ts'
import type { Statistics } from '../vault/views/service.ts'
import { softwareVersion } from '../wire/software.ts'
import { lookAtSource, type SourceFacts, tellSource } from './answers.ts'
import type { Context } from './context.ts'
import type { LookedAt } from './measures/recorder.ts'

/** What is kept changes seldom: by retention, and by holes. */
const keptMsMax = 10_000

type Kept = Pick<Statistics, 'earliest' | 'hole'>

type Head = Omit<VaultStatus, 'sources'>

/** How every source does, as it is told to whoever asks or watches. */
export class Statuses {
  readonly #context: Pick<Context, 'vault' | 'live' | 'derived' | 'measures' | 'space' | 'clock'>
  readonly #clock: Clock
  readonly #kept = new Map<Id, { readonly atMs: number; readonly found: Promise<Kept> }>()

  constructor(context: Pick<Context, 'vault' | 'live' | 'derived' | 'measures' | 'space' | 'clock'>) {
    this.#context = context
    this.#clock = context.clock
  }

  async source(definition: SourceDefinition): Promise<SourceStatus> {
    const facts = this.#facts(definition)
    const kept = facts.indexed > 0 ? await this.#keptOf(definition.id) : undefined
    const verified = this.#context.measures.lastVerification(definition.id)
    return tellSource(facts, { earliest: kept?.earliest, hole: kept?.hole, verified })
  }

  /** All that are protected, as they are at this instant. */
  *look(): Generator<LookedAt> {
    for (const definition of this.#context.vault.openSources) {
      if (definition.retired === undefined) yield lookAtSource(this.#facts(definition))
    }
  }

  #facts(definition: SourceDefinition): SourceFacts {
    const { vault, live, derived } = this.#context
    const { registry } = vault
    const { id } = definition
    const journal = vault.journal(id)
    const failure = registry.agentDamage(definition.agent) ?? journal.damage ?? derived.indexes.failure(id)
    return {
      definition,
      agentName: registry.agentName(definition.agent) ?? definition.agent,
      agentConnected: live.isConnected(definition.agent),
      live: live.source(id),
      durable: journal.durable,
      moment: journal.durable > 0 ? journal.end.moment : undefined,
      failure,
      indexed: derived.indexes.indexed(id),
      stalled: vault.stalled || failure?.code === 'vault-full',
      nowMs: this.#clock.monotonicMs(),
    }
  }

  /** In the order of their names. */
  async sources(definitions: readonly SourceDefinition[]): Promise<SourceStatus[]> {
    const told = await Promise.all(definitions.map((definition) => this.source(definition)))
    return told.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async vault(): Promise<Head> {
    const { vault, space } = this.#context
    const { registry } = vault
    const [freeBytes, storedBytes] = await Promise.all([space.freeBytes(), space.storedBytes()])
    return {
      id: vault.id,
      name: registry.name,
      version: softwareVersion,
      now: isoMoment(this.#clock.now() as Moment),
      stalled: vault.stalled,
      freeBytes,
      storedBytes,
      damage: [...registry.damage, ...vault.packDamage].map(({ message }) => message),
    }
  }

  forget(source: Id): void {
    this.#kept.delete(source)
  }

  #keptOf(source: Id): Promise<Kept> {
    const nowMs = this.#clock.monotonicMs()
    const known = this.#kept.get(source)
    if (known !== undefined && nowMs - known.atMs < keptMsMax) return known.found
    const found = this.#context.derived.views.statistics(source)
    this.#kept.set(source, { atMs: nowMs, found })
    // What failed, or found nothing yet, is asked again by the next.
    void found.then(
      ({ earliest }) => earliest === undefined && this.#kept.delete(source),
      () => this.#kept.delete(source),
    )
    return found
  }
}
