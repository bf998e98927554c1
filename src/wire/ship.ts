import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { ChunkId } from '../model/change.ts'
import type { BandwidthLimit } from '../model/bandwidth.ts'
import { type Moment, moment } from '../model/moment.ts'
import type { CaptureReport } from '../model/report.ts'
import { advance, type Sequence } from '../model/sequence.ts'
import type { Id, SourceDefinition } from '../model/source.ts'
import { type ClockOffset, Conversation, RefusedByPeer, violation } from './conversation.ts'
import type { Link } from './link.ts'
import {
  type Hello,
  type Message,
  offerIdsMax,
  orderVersionMin,
  protocolVersions,
  type ServerAbout,
  type Welcome,
} from './messages.ts'
import type { TaskOrder, TaskReport } from './orders.ts'
import type { Pace } from './pace.ts'
import type { AppenderRequest } from './ports.ts'
import { together, unlessAborted } from '../base/together.ts'
import { Window } from './window.ts'

export interface ShippedBatch {
  readonly first: Sequence
  readonly last: Sequence
  readonly blocks: readonly Uint8Array[]
  readonly bytes: Uint8Array
  readonly bulk: boolean
  /** Of its last change, where that is known. */
  readonly moment?: Moment
}

/** What a journal session ships and whom it tells what comes back. It outlives sessions. */
export interface Cargo {
  /** The batch that begins at `first`, as soon as there is one. */
  next(first: Sequence, signal: AbortSignal): Promise<ShippedBatch>
  /** Its last byte was taken by the line. */
  sent?(batch: ShippedBatch): void
  /** Offers without an answer so far; each session asks them again. */
  unanswered(): Iterable<{ readonly tag: number; readonly ids: readonly ChunkId[] }>
  /** Everything up to `durable` is durable; each session begins with what was durable before it. */
  acknowledged(durable: Sequence): void
  answered(tag: number, missing: readonly boolean[]): void
  requested(request: AppenderRequest): void
  /** The vault has no room; nothing will be acknowledged until it says otherwise. */
  stalled(stalled: boolean): void
}

export type JournalWelcome = NonNullable<Welcome['journal']>

/** The agent's end of one connection for a journal. */
export class JournalSession {
  readonly welcome: Welcome
  readonly journal: JournalWelcome
  readonly #link: Link
  readonly #conversation: Conversation
  readonly #clock: Clock
  readonly #window: Window
  #sent: Sequence
  #report: CaptureReport | undefined
  #reporting = false

  private constructor(link: Link, conversation: Conversation, welcome: Welcome, journal: JournalWelcome, clock: Clock) {
    this.#link = link
    this.#conversation = conversation
    this.welcome = welcome
    this.journal = journal
    this.#clock = clock
    this.#window = new Window(clock)
    this.#sent = journal.durable
  }

  /** Says hello and waits for the welcome. The link is closed when this rejects. */
  static async open(
    link: Link,
    about: { readonly source: Id; readonly software: string },
    clock: Clock,
    signal: AbortSignal,
  ): Promise<JournalSession> {
    const conversation = new Conversation(link, clock)
    const role: Hello['role'] = { is: 'journal', source: about.source }
    const welcome = await closingOnFailure(link, conversation, () =>
      greet(conversation, { role, software: about.software }, clock, signal),
    )
    if (welcome.journal) return new JournalSession(link, conversation, welcome, welcome.journal, clock)
    const error = violation('a welcome without a journal')
    await conversation.refuse(error)
    throw error
  }

  get clockOffset(): ClockOffset | undefined {
    return this.#conversation.clockOffset
  }

  /** Bulk that keeps the line busy without delaying live changes for long. */
  get bulkBytesMax(): number {
    return this.#window.bytesMax
  }

  /** Ships until the connection ends: resolves when the vault closed it in order or `signal` aborts, else rejects. */
  async run(cargo: Cargo, pace: Pace, signal: AbortSignal): Promise<void> {
    cargo.acknowledged(this.journal.durable)
    await closingOnFailure(this.#link, this.#conversation, async () => {
      try {
        await together(signal, [
          (inside) => this.#ship(cargo, pace, inside),
          (inside) => this.#receive(cargo, inside),
          (inside) => this.#conversation.heartbeat(inside),
          async (inside) => {
            for (const { tag, ids } of cargo.unanswered()) await unlessAborted(this.offer(tag, ids), inside)
            await unlessAborted(new Promise<never>(() => undefined), inside)
          },
        ])
      } catch (error) {
        if (!signal.aborted) throw error
      }
    })
    await this.#link[Symbol.asyncDispose]()
  }

  /** Resolves when there is room for more. */
  offer(tag: number, ids: readonly ChunkId[]): Promise<void> {
    assert(ids.length > 0 && ids.length <= offerIdsMax, 'an offer is of 1 to offerIdsMax chunks')
    return this.#conversation.send({ kind: 'offer', tag, ids })
  }

  /** The mark of request `tag` has this sequence, which is acknowledged. */
  marked(tag: number, sequence: Sequence): Promise<void> {
    return this.#conversation.send({ kind: 'marked', tag, sequence })
  }

  /** Only the newest report is told when they come faster than they go. */
  report(report: CaptureReport): void {
    this.#report = report
    if (this.#reporting) return
    this.#reporting = true
    const tell = async (): Promise<void> => {
      while (this.#report) {
        const newest = this.#report
        this.#report = undefined
        await this.#conversation.send({ kind: 'report', report: newest, now: moment(this.#clock.now()) })
      }
      this.#reporting = false
    }
    // A connection that is gone shows itself to `run`.
    tell().catch(() => undefined)
  }

  /** Says this and closes the connection: of a source of which nothing is shipped any more. */
  async lastReport(report: CaptureReport): Promise<void> {
    await closingOnFailure(this.#link, this.#conversation, () =>
      this.#conversation.send({ kind: 'report', report, now: moment(this.#clock.now()) }),
    )
    await this.#link[Symbol.asyncDispose]()
  }

  async #ship(cargo: Cargo, pace: Pace, signal: AbortSignal): Promise<void> {
    for (;;) {
      const next = advance(this.#sent, 1)
      const batch = await cargo.next(next, signal)
      const { first, last, blocks, bytes, bulk } = batch
      assert(first === next && last >= first, 'batches are shipped in order, without a gap')
      if (bulk) await this.#window.room(signal)
      this.#window.sent(
        last,
        blocks.reduce((sum, block) => sum + block.length, bytes.length),
      )
      for (const block of blocks) await this.#sendPaced({ kind: 'block', bytes: block }, pace, bulk, signal)
      this.#sent = last
      await this.#sendPaced({ kind: 'batch', bytes }, pace, bulk, signal)
      cargo.sent?.(batch)
    }
  }

  async #sendPaced(
    message: Message & { readonly bytes: Uint8Array },
    pace: Pace,
    bulk: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    await pace.take(message.bytes.length, bulk, signal)
    await unlessAborted(this.#conversation.send(message), signal)
  }

  async #receive(cargo: Cargo, signal: AbortSignal): Promise<void> {
    let durable = this.journal.durable
    for (;;) {
      const message = await unlessAborted(this.#conversation.receive(), signal)
      if (message === undefined) return
      switch (message.kind) {
        case 'acknowledged':
          if (message.durable < durable || message.durable > this.#sent) {
            throw violation(`${message.durable} acknowledged where ${durable} to ${this.#sent} was under way`)
          }
          durable = message.durable
          this.#window.acknowledged(durable)
          cargo.acknowledged(durable)
          break
        case 'need':
          cargo.answered(message.tag, message.missing)
          break
        case 'mark':
        case 'reconcile':
          cargo.requested(message)
          break
        case 'stalled':
        case 'going-on':
          cargo.stalled(message.kind === 'stalled')
          break
        default:
          throw violation(`${message.kind} from a vault`)
      }
    }
  }
}

/** What the vault tells an agent over its control connection. */
export interface Told {
  /** The agent's sources, now and whenever they change. */
  definitions(sources: readonly SourceDefinition[], welcome: Welcome): void
  /** The vault takes reports of tasks, until what is returned is disposed of. `send` resolves when there is room for more. */
  reporting(send: (report: TaskReport) => Promise<void>): Disposable
  ordered(order: TaskOrder): void
  cancelled(id: Id, run: number): void
  limited(limits: readonly BandwidthLimit[]): void
}

/** The agent's control connection. A vault of version 1 of the link orders nothing. */
export async function followVault(
  link: Link,
  about: { readonly software: string; readonly server: ServerAbout },
  told: Told,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const conversation = new Conversation(link, clock)
  await closingOnFailure(link, conversation, async () => {
    const welcome = await greet(conversation, { role: { is: 'control' }, ...about }, clock, signal)
    try {
      await together(signal, [
        (inside) => conversation.heartbeat(inside),
        async (inside) => {
          using _reporting =
            welcome.version < orderVersionMin
              ? undefined
              : told.reporting((report) => conversation.send({ kind: 'task-report', report }))
          for (;;) {
            const message = await unlessAborted(conversation.receive(), inside)
            if (message === undefined) return
            hear(message, told, welcome)
          }
        },
      ])
    } catch (error) {
      if (!signal.aborted) throw error
    }
  })
  await link[Symbol.asyncDispose]()
}

function hear(message: Message, told: Told, welcome: Welcome): void {
  if (message.kind === 'definitions') return told.definitions(message.sources, welcome)
  if (welcome.version >= orderVersionMin && message.kind === 'task') return told.ordered(message)
  if (welcome.version >= orderVersionMin && message.kind === 'task-cancel')
    return told.cancelled(message.id, message.run)
  if (welcome.version >= orderVersionMin && message.kind === 'limits') return told.limited(message.limits)
  throw violation(`${message.kind} on a control connection`)
}

async function greet(
  conversation: Conversation,
  about: Pick<Hello, 'role' | 'software' | 'server'>,
  clock: Clock,
  signal: AbortSignal,
): Promise<Welcome> {
  const now: Moment = moment(clock.now())
  await conversation.send({
    kind: 'hello',
    versions: protocolVersions,
    now,
    ...about,
  })
  const welcome = await conversation.greeting(signal)
  if (welcome === undefined) {
    throw new TidemarkError('unreachable', { message: 'the vault closed the connection before its welcome' })
  }
  if (welcome.kind !== 'welcome') throw violation(`${welcome.kind} where a welcome was expected`)
  if (!protocolVersions.includes(welcome.version)) {
    throw violation(`a welcome in version ${welcome.version}, which was not offered`)
  }
  conversation.accepted()
  return welcome
}

/** A violation is told to the peer before the link is closed; after any other failure there is nothing to tell. */
async function closingOnFailure<T>(link: Link, conversation: Conversation, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof TidemarkError && !(error instanceof RefusedByPeer) && error.code === 'protocol-violation') {
      await conversation.refuse(error)
    } else {
      link.destroy(error instanceof Error ? error.message : String(error))
    }
    throw error
  }
}
