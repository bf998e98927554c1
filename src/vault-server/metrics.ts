import type { SourceStatus } from '../api/schemas.ts'
import type { Clock } from '../base/clock.ts'
import type { Id } from '../model/source.ts'
import { Exposition, type Told } from '../monitoring/exposition.ts'
import type { Wrote } from '../vault/committer.ts'
import type { Context } from './context.ts'

/** From what a cache with a battery takes to what only a dying disk does. */
const writeSeconds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]

/**
 * Every metric of a vault; docs/operate/monitoring.md tells how they are used. A name ends in its unit; one without is a number
 * of things, or 1 for yes. Labels are names of sources and agents, states, and versions: a vault has as many series as those.
 */
const declare = (vault: Exposition) => ({
  info: vault.gauge('info', 'Always 1; its labels tell which vault this is, and which version it runs', [
    'vault',
    'version',
  ]),
  stalled: vault.gauge('stalled', '1 while nothing is acknowledged for want of room'),
  damages: vault.gauge('damages', 'Packs and records of the registry that cannot be read'),
  free: vault.gauge('free_bytes', 'Room on the file system of the vault'),
  stored: vault.gauge('stored_bytes', 'What journals and packs take on disk'),
  written: vault.histogram(
    'write_seconds',
    'Time to write and sync what had gathered, of a journal or of the packs',
    writeSeconds,
    ['file'],
  ),
  agents: vault.gauge('agent_connected', '1 while the agent is connected', ['agent']),
  consoles: vault.gauge('consoles_connected', 'Consoles that follow what happens'),
  sessions: vault.gauge('journal_sessions', 'Connections over which agents append to journals'),
  views: vault.gauge('open_views', 'Questions to views that are being answered, restores among them'),
  held: vault.gauge('held_points', 'Points that restores and open moments keep from being forgotten'),
})

const declareSources = (vault: Exposition) => ({
  info: vault.gauge('source_info', 'Always 1; its labels tell what the source is', [
    'source',
    'agent',
    'kind',
    'system',
  ]),
  state: vault.gauge('source_state', 'Always 1, in the state that the source is in', ['source', 'state']),
  lag: vault.gauge('source_lag_seconds', 'Age of the moment up to which all is durable here; absent before the first', [
    'source',
  ]),
  lagLimit: vault.gauge('source_lag_limit_seconds', 'Lag above which the source counts as late', ['source']),
  backlog: vault.gauge('source_backlog_bytes', 'Captured and not durable here yet, as its agent tells', ['source']),
  dirty: vault.gauge('source_dirty', 'Things known to have changed and not captured yet', ['source']),
  durable: vault.gauge('source_durable_sequence', 'Last durable change', ['source']),
  indexed: vault.gauge('source_indexed_sequence', 'Last change up to where views can be opened', ['source']),
  window: vault.gauge('source_window_seconds', 'How far back a moment can be restored; absent before the first', [
    'source',
  ]),
  verifiedAge: vault.gauge(
    'source_verified_age_seconds',
    'Since everything of a point was read back and checked; absent before the first time',
    ['source'],
  ),
  verifiedGood: vault.gauge('source_verified_good', '1 where the last verification found nothing wrong', ['source']),
  holeAge: vault.gauge('source_hole_age_seconds', 'Since the newest hole began; absent where there is none', [
    'source',
  ]),
  problems: vault.gauge('source_problems', 'Problems that "tidemark status" names', ['source']),
  changes: vault.counter('source_changes_total', 'Changes made durable since the vault was started', ['source']),
  bytes: vault.counter('source_received_bytes_total', 'Bytes of batches and content received since the start', [
    'source',
  ]),
  batches: vault.counter('source_batches_total', 'Batches made durable since the start', ['source']),
})

export class VaultMetrics {
  readonly exposition: Exposition
  readonly #vault
  readonly #sources

  constructor(clock: Clock) {
    this.exposition = new Exposition('tidemark_vault', clock)
    this.#vault = declare(this.exposition)
    this.#sources = declareSources(this.exposition)
  }

  readonly wrote = ({ file, ms }: Wrote): void => this.#vault.written.observe({ file }, ms / 1000)

  tell(context: Context): Promise<Told> {
    return this.exposition.tell(() => this.#read(context))
  }

  async #read(context: Context): Promise<void> {
    const { vault, live, derived, held, statuses } = context
    const { registry } = vault
    const [{ name, version, stalled, damage, freeBytes, storedBytes }, sources] = await Promise.all([
      statuses.vault(),
      statuses.sources(vault.openSources),
    ])
    const known = this.#vault
    known.info.reset()
    known.info.set({ vault: name, version }, 1)
    known.stalled.set(Number(stalled))
    known.damages.set(damage.length)
    known.free.set(freeBytes)
    known.stored.set(storedBytes)
    known.agents.reset()
    for (const agent of registry.agents)
      if (!agent.revoked) known.agents.set({ agent: agent.name }, Number(live.isConnected(agent.id)))
    known.consoles.set(registry.consoles.filter(({ id }) => live.isConnected(id)).length)
    known.sessions.set(vault.openSources.filter(({ id }) => live.source(id).isShipping).length)
    known.views.set(derived.openViews)
    known.held.set(held.count)
    for (const one of Object.values(this.#sources)) one.reset()
    for (const source of sources) this.#readSource(source, context)
  }

  #readSource(status: SourceStatus, { live, clock }: Context): void {
    const known = this.#sources
    const source = status.name
    const { agent, kind, system = '', state, policy, lagMs, earliest, verified, hole } = status
    known.info.set({ source, agent: agent.name, kind, system }, 1)
    known.state.set({ source, state }, 1)
    if (lagMs !== null) known.lag.set({ source }, lagMs / 1000)
    known.lagLimit.set({ source }, policy.lagMsMax / 1000)
    known.backlog.set({ source }, status.lagBytes)
    known.dirty.set({ source }, status.dirty)
    known.durable.set({ source }, status.sequence)
    known.indexed.set({ source }, status.indexed)
    const age = (moment: string): number => Math.max(0, clock.now() / 1e6 - Date.parse(moment) / 1000)
    if (earliest !== null) known.window.set({ source }, age(earliest))
    if (verified !== null) {
      known.verifiedAge.set({ source }, age(verified.moment))
      known.verifiedGood.set({ source }, Number(verified.good))
    }
    if (hole !== null) known.holeAge.set({ source }, age(hole.moment))
    known.problems.set({ source }, status.problems.length)
    const { changes, bytes, batches } = live.source(status.id as Id).meter.totals
    known.changes.inc({ source }, changes)
    known.bytes.inc({ source }, bytes)
    known.batches.inc({ source }, batches)
  }
}
