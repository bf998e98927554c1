import type { ChunkId } from '../model/change.ts'
import type { BandwidthLimit } from '../model/bandwidth.ts'
import type { Moment } from '../model/moment.ts'
import type { CaptureReport } from '../model/report.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Id, SourceDefinition } from '../model/source.ts'
import type { ServerAbout } from './messages.ts'
import type { TaskOrder, TaskReport } from './orders.ts'

/** What the vault's end of the link needs of the vault. The vault implements it; wire knows only this. */
export interface VaultPort {
  readonly id: Id
  /** Name and version of the program, as peers are told. */
  readonly software: string
  readonly chunkKey: Uint8Array
  /** The sources of an agent, and again whenever they change. */
  definitions(agent: Id, signal: AbortSignal): AsyncIterable<readonly SourceDefinition[]>
  /** An agent's control connection begins. It is over when what is returned is disposed of. */
  control(peer: AgentPeer): AgentOrders
  /**
   * Opens the journal of a source for appending by its agent. A journal has one appender: an older session of the
   * same agent is ended first. Throws `not-allowed` or `not-found`.
   */
  append(agent: Id, source: Id, signal: AbortSignal): Promise<Appender>
}

/** Who has dialled, as the connection proves it. */
export interface Dialled {
  readonly agent: Id
  readonly address?: string
  readonly certificateExpires?: Moment
}

/** What is known of an agent while its control connection is up. */
export interface AgentPeer extends Dialled {
  /** The protocol version that both speak. */
  readonly version: number
  readonly software: string
  readonly server: ServerAbout | undefined
  /** Shortest so far; undefined before the first answer to a ping. */
  readonly roundTripMs: () => number | undefined
}

export type AgentOrder =
  | ({ readonly kind: 'task' } & TaskOrder)
  | { readonly kind: 'task-cancel'; readonly id: Id; readonly run: number }
  | { readonly kind: 'limits'; readonly limits: readonly BandwidthLimit[] }

export interface AgentOrders extends Disposable {
  /** What the agent is told, as it comes. Ends when another control connection of the agent has taken its place. */
  readonly orders: AsyncIterable<AgentOrder>
  reported(report: TaskReport): void
}

/** The one who may append to a journal. Calls are made in order; several `batch` calls may be under way,
 * other calls wait for the one before. */
export interface Appender extends AsyncDisposable {
  /** Last durable sequence, and the cursor of its batch; both move on as batches become durable. */
  readonly durable: Sequence
  readonly cursor: Uint8Array
  /** Which of these chunks this agent has neither sent nor proved to hold. Others stay referable for this session. */
  missing(ids: readonly ChunkId[]): boolean[]
  /** Checks every chunk against its name, keeps the block. Durable by the next acknowledged batch. */
  block(bytes: Uint8Array): Promise<void>
  /**
   * Checks the batch (form, sequence, chunks known) and appends it. Resolves once it is durable.
   * A batch that is durable already resolves at once. `sequence-refused`, `chunk-missing`, `protocol-violation`
   * reject; without room it waits until there is room. Once it has resolved, the memory of `bytes` is given back.
   */
  batch(bytes: Uint8Array): Promise<void>
  /** True while nothing can be made durable for want of room. */
  readonly stalled: boolean
  /** What the agent says of its capture, with its clock's present reading. */
  report(report: CaptureReport, agentNow: Moment): void
  /**
   * Requests for the capture (a user's mark, a reconciliation), as they come. Ends when this session is over because
   * another one has been opened for the journal.
   */
  readonly requests: AsyncIterable<AppenderRequest>
  /** The mark of request `tag` has this sequence and is durable. */
  marked(tag: number, sequence: Sequence): void
}

/**
 * `tag` is a number never used before for this source (the vault's clock is a good start): after a cut, an answer may
 * come by the next session, and a request whose answer does not come is made again under another tag.
 */
export type AppenderRequest =
  | { readonly kind: 'mark'; readonly tag: number; readonly label: string }
  | { readonly kind: 'reconcile' }
