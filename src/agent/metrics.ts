import type { Clock } from '../base/clock.ts'
import { Exposition, type Told } from '../monitoring/exposition.ts'
import { softwareVersion } from '../wire/software.ts'
import type { AgentStatus } from './agent.ts'
import type { ProtectionStatus } from './protect.ts'

/** From a cable in one room to a line over a satellite that is busy. */
const acknowledgedSeconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30]

/**
 * Every metric of an agent; docs/operate/monitoring.md tells how they are used. A name ends in its unit; one without is a number
 * of things, or 1 for yes. Labels are names of its sources, states and versions.
 */
const declare = (agent: Exposition) => ({
  info: agent.gauge('info', 'Always 1; its labels tell which agent this is, and which version it runs', [
    'agent',
    'version',
  ]),
  connected: agent.gauge('connected', '1 while the vault is reached'),
  connections: agent.counter('connections_total', 'Times the vault was reached since the agent was started'),
  certificate: agent.gauge(
    'certificate_left_seconds',
    'Until the certificate of the agent ends; it renews it by itself',
  ),
  releases: agent.gauge('releases', 'Sources no longer protected that could not be let go yet'),
  acknowledged: agent.histogram(
    'acknowledged_seconds',
    'From the last byte of a batch on the line to the word that the vault has it durably',
    acknowledgedSeconds,
  ),
})

const declareSources = (agent: Exposition) => ({
  state: agent.gauge('source_state', 'Always 1, in the state that the capture is in', ['source', 'state']),
  connected: agent.gauge('source_connected', '1 while the journal of the source can be appended to', ['source']),
  stalled: agent.gauge('source_stalled', '1 while the vault has no room', ['source']),
  lag: agent.gauge('source_lag_seconds', 'Age of the moment up to which all is known to be at the vault', ['source']),
  lagLimit: agent.gauge('source_lag_limit_seconds', 'Lag above which the source counts as late', ['source']),
  dirty: agent.gauge('source_dirty', 'Things known to have changed and not captured yet', ['source']),
  backlog: agent.gauge('source_backlog_changes', 'Captured and not acknowledged yet', ['source']),
  memory: agent.gauge('source_memory_bytes', 'Of the backlog, what is in memory', ['source']),
  spool: agent.gauge('source_spool_bytes', 'Of the backlog, what is on disk', ['source']),
  spoolLimit: agent.gauge('source_spool_limit_bytes', 'What may be on disk', ['source']),
  spoolFull: agent.gauge('source_spool_full', '1 while changes cannot be kept one by one: a hole follows', ['source']),
  uncaptured: agent.gauge('source_uncaptured_bytes', 'Kept at the source and not captured yet', ['source']),
  clock: agent.gauge('source_vault_clock_ahead_seconds', "How far the vault's clock is ahead", ['source']),
  roundTrip: agent.gauge('source_round_trip_seconds', 'Shortest way there and back of this connection', ['source']),
  captured: agent.counter('source_captured_changes_total', 'Changes captured since the start', ['source']),
  sentBatches: agent.counter('source_sent_batches_total', 'Batches sent since the start', ['source']),
  sentBytes: agent.counter('source_sent_bytes_total', 'Bytes of batches and content sent since the start', ['source']),
  sessions: agent.counter('source_sessions_total', 'Connections for the journal; each after the first was a line cut', [
    'source',
  ]),
  hintsLost: agent.counter(
    'source_hints_lost_total',
    'Times more changed at once than could be told: all is compared',
    ['source'],
  ),
})

export class AgentMetrics {
  readonly exposition: Exposition
  readonly #clock: Clock
  readonly #agent
  readonly #sources

  constructor(clock: Clock) {
    this.#clock = clock
    this.exposition = new Exposition('tidemark_agent', clock)
    this.#agent = declare(this.exposition)
    this.#sources = declareSources(this.exposition)
  }

  readonly acknowledged = (ms: number): void => this.#agent.acknowledged.observe(ms / 1000)

  tell(status: () => AgentStatus): Promise<Told> {
    return this.exposition.tell(async () => this.#read(status()))
  }

  #read({ name, connected, connections, certificateExpires, releases, sources }: AgentStatus): void {
    const known = this.#agent
    known.info.set({ agent: name, version: softwareVersion }, 1)
    known.connected.set(Number(connected))
    known.connections.reset()
    known.connections.inc(connections)
    known.certificate.set(Date.parse(certificateExpires) / 1000 - this.#clock.now() / 1e6)
    known.releases.set(releases.length)
    for (const one of Object.values(this.#sources)) one.reset()
    for (const source of sources) this.#readSource(source)
  }

  #readSource(status: ProtectionStatus): void {
    const known = this.#sources
    const source = status.name
    const { line, capture, lagMs, clockAheadMs, roundTripMs, totals } = status
    known.state.set({ source, state: status.paused ? 'paused' : (capture?.state ?? 'starting') }, 1)
    known.connected.set({ source }, Number(line !== 'down'))
    known.stalled.set({ source }, Number(line === 'stalled'))
    if (lagMs !== undefined) known.lag.set({ source }, lagMs / 1000)
    known.lagLimit.set({ source }, status.lagMsMax / 1000)
    known.dirty.set({ source }, capture?.dirty ?? 0)
    known.backlog.set({ source }, status.captured - status.acknowledged)
    known.memory.set({ source }, status.memoryBytes)
    known.spool.set({ source }, status.spoolBytes)
    known.spoolLimit.set({ source }, status.spoolBytesMax)
    known.spoolFull.set({ source }, Number(status.spoolFull))
    known.uncaptured.set({ source }, capture?.uncapturedBytes ?? 0)
    if (clockAheadMs !== undefined) known.clock.set({ source }, clockAheadMs / 1000)
    if (roundTripMs !== undefined) known.roundTrip.set({ source }, roundTripMs / 1000)
    known.captured.inc({ source }, totals.capturedChanges)
    known.sentBatches.inc({ source }, totals.sentBatches)
    known.sentBytes.inc({ source }, totals.sentBytes)
    known.sessions.inc({ source }, totals.sessions)
    known.hintsLost.inc({ source }, capture?.hintsLost ?? 0)
  }
}
