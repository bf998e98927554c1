import { createHash } from 'node:crypto'
import { Malformed } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { decodeBatch, encodeBatch } from '../format/batch.ts'
import type { ChunkId } from '../model/change.ts'
import { type Moment, moment } from '../model/moment.ts'
import type { CaptureReport } from '../model/report.ts'
import { advance, beforeFirst, type Sequence } from '../model/sequence.ts'
import { lastOf } from '../model/batch.ts'
import type { Id, SourceDefinition } from '../model/source.ts'
import type { TaskReport } from './orders.ts'
import type { AgentOrder, AgentOrders, Appender, AppenderRequest, VaultPort } from './ports.ts'
import type { ShippedBatch } from './ship.ts'
import { Wake } from '../base/wake.ts'

/**
 * For tests of the link: the smallest thing that keeps the contract of VaultPort, for one journal. Durability takes
 * time; when a session ends, a part of what was under way, decided by chance, is durable and the rest is lost.
 */
export class JournalInMemory implements VaultPort {
  readonly id = 'e'.repeat(32) as Id
  readonly software = 'journal in memory'
  readonly chunkKey = Buffer.alloc(32, 1)
  readonly applied: AppliedBatch[] = []
  readonly reports: { readonly report: CaptureReport; readonly agentNow: Moment }[] = []
  readonly marks: { readonly tag: number; readonly sequence: Sequence }[] = []
  readonly requests: AppenderRequest[] = []
  readonly changed = new Wake()
  sources: readonly SourceDefinition[] = []
  /** Told on each control connection from the first on, and more as `changed` wakes. */
  readonly orders: AgentOrder[] = []
  readonly taskReports: TaskReport[] = []
  durable: Sequence = beforeFirst
  cursor: Uint8Array = Buffer.alloc(0)
  stalled = false
  sessions = 0
  readonly syncMsMax: number
  readonly clock: Clock
  readonly random: Random
  #session: MemoryAppender | undefined
  readonly #chunks = new Set<string>()

  constructor(clock: Clock, random: Random, syncMsMax = 5) {
    this.clock = clock
    this.random = random
    this.syncMsMax = syncMsMax
  }

  async *definitions(_agent: Id, signal: AbortSignal): AsyncGenerator<readonly SourceDefinition[]> {
    for (;;) {
      yield this.sources
      await this.changed.wait(signal)
    }
  }

  control(): AgentOrders {
    const { changed, orders, taskReports } = this
    async function* told(): AsyncGenerator<AgentOrder> {
      for (let at = 0; ;) {
        const order = orders[at]
        if (order === undefined) await changed.wait(forever)
        else yield (at++, order)
      }
    }
    return {
      orders: told(),
      reported: (report) => void taskReports.push(report),
      [Symbol.dispose]: () => undefined,
    }
  }

  async append(agent: Id, _source: Id, signal: AbortSignal): Promise<Appender> {
    if (agent !== agentInMemory) throw new TidemarkError('not-allowed', { message: 'this source is of another agent' })
    this.#session?.end()
    this.sessions++
    this.#session = new MemoryAppender(this, this.#chunks, signal)
    return this.#session
  }
}

const forever = new AbortController().signal

export const agentInMemory = 'a'.repeat(32) as Id

interface AppliedBatch {
  readonly first: Sequence
  readonly last: Sequence
  readonly label: string
  readonly cursor: string
}

interface Waiting {
  readonly last: Sequence
  readonly cursor: Uint8Array
  readonly entry: AppliedBatch
  readonly resolve: () => void
}

class MemoryAppender implements Appender {
  readonly #journal: JournalInMemory
  readonly #chunks: Set<string>
  readonly #arrived = new Set<string>()
  readonly #waiting: Waiting[] = []
  readonly #signal: AbortSignal
  readonly #over = new AbortController()
  #end: Sequence
  #syncing = false

  constructor(journal: JournalInMemory, chunks: Set<string>, signal: AbortSignal) {
    this.#journal = journal
    this.#chunks = chunks
    this.#end = journal.durable
    this.#signal = AbortSignal.any([signal, this.#over.signal])
  }

  get durable(): Sequence {
    return this.#journal.durable
  }

  get cursor(): Uint8Array {
    return this.#journal.cursor
  }

  get stalled(): boolean {
    return this.#journal.stalled
  }

  missing(ids: readonly ChunkId[]): boolean[] {
    return ids.map((id) => !this.#chunks.has(id) && !this.#arrived.has(id))
  }

  async block(bytes: Uint8Array): Promise<void> {
    this.#checkOpen()
    this.#arrived.add(hashOf(bytes))
  }

  async batch(bytes: Uint8Array): Promise<void> {
    this.#checkOpen()
    const batch = decodeBatch(bytes)
    const last = lastOf(batch)
    if (last <= this.#journal.durable) return
    if (batch.first !== advance(this.#end, 1)) {
      throw new TidemarkError('sequence-refused', { message: `${batch.first} after ${this.#end}` })
    }
    const change = batch.changes[0]?.change
    if (change?.kind !== 'mark' || change.mark.type !== 'user') throw new Malformed('not a batch of the test')
    for (const id of change.mark.label.split(' ').slice(1)) {
      if (!this.#arrived.has(id) && !this.#chunks.has(id)) {
        throw new TidemarkError('chunk-missing', { message: `${id} for ${batch.first}` })
      }
    }
    this.#end = last
    await new Promise<void>((resolve) => {
      const label = change.mark.type === 'user' ? change.mark.label : ''
      const entry = { first: batch.first, last, label, cursor: Buffer.from(batch.cursor).toString() }
      this.#waiting.push({ last, cursor: batch.cursor, entry, resolve })
      void this.#sync()
    })
  }

  async #sync(): Promise<void> {
    if (this.#syncing) return
    this.#syncing = true
    while (this.#waiting.length > 0) {
      const group = this.#waiting.length
      if (this.#journal.syncMsMax > 0) {
        await this.#journal.clock.sleep(this.#journal.random.fraction() * this.#journal.syncMsMax)
      }
      while (this.#journal.stalled) await this.#journal.clock.sleep(100)
      for (let index = 0; index < group; index++) this.#settle()
    }
    this.#syncing = false
  }

  #settle(): void {
    const next = this.#waiting.shift()
    if (next === undefined || this.#over.signal.aborted) return
    this.#journal.applied.push(next.entry)
    this.#journal.durable = next.last
    this.#journal.cursor = next.cursor
    for (const id of next.entry.label.split(' ').slice(1)) this.#chunks.add(id)
    next.resolve()
    this.#journal.changed.wake()
  }

  report(report: CaptureReport, agentNow: Moment): void {
    this.#journal.reports.push({ report, agentNow })
    this.#journal.changed.wake()
  }

  get requests(): AsyncIterable<AppenderRequest> {
    const journal = this.#journal
    const signal = this.#signal
    return (async function* () {
      while (!signal.aborted) {
        const request = await journal.changed.until(() => journal.requests.shift(), signal).catch(() => undefined)
        if (request) yield request
      }
    })()
  }

  marked(tag: number, sequence: Sequence): void {
    this.#journal.marks.push({ tag, sequence })
  }

  end(): void {
    if (this.#over.signal.aborted) return
    const kept = Math.floor(this.#journal.random.fraction() * (this.#waiting.length + 1))
    for (let index = 0; index < kept; index++) this.#settle()
    this.#waiting.length = 0
    this.#over.abort(new TidemarkError('already-running', { message: 'another session has begun' }))
  }

  #checkOpen(): void {
    this.#over.signal.throwIfAborted()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
  }
}

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16)

/** A batch of `changes` marks that needs `blocks` to have arrived. Its cursor is its run and last sequence, as text. */
export function batchForTest(
  first: Sequence,
  changes: number,
  blocks: readonly Uint8Array[],
  bulk: boolean,
  run = '',
): ShippedBatch {
  const last = advance(first, changes - 1)
  const label = ['batch', ...blocks.map(hashOf)].join(' ')
  const bytes = encodeBatch({
    first,
    settled: true,
    cursor: Buffer.from(`${run}:${last}`),
    changes: Array.from({ length: changes }, (_, index) => ({
      moment: moment(first * 1000 + index),
      change: { kind: 'mark', mark: { type: 'user', label } },
    })),
  })
  return { first, last, blocks, bytes, bulk }
}
