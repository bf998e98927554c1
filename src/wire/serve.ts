import { Malformed } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import { giveBack } from '../base/give-back.ts'
import { moment } from '../model/moment.ts'
import type { Sequence } from '../model/sequence.ts'
import { Conversation, RefusedByPeer, violation } from './conversation.ts'
import { frameBytesMax } from './frames.ts'
import type { Link } from './link.ts'
import { type Message, orderVersionMin, protocolVersions, type Welcome } from './messages.ts'
import type { AgentPeer, Appender, Dialled, VaultPort } from './ports.ts'
import { together, unlessAborted } from '../base/together.ts'
import { Wake } from '../base/wake.ts'

/** Reading from a connection stops while more than this is being checked, stored and synced. */
export const inProgressBytesMax = 16 * 1024 * 1024

/** How a connection ended. `refused`: we told the peer why; `refused-by-peer`: it told us. */
export type ConnectionEnd =
  | { readonly how: 'closed' }
  | { readonly how: 'lost' | 'refused' | 'refused-by-peer'; readonly error: TidemarkError }

/**
 * The vault's end of one connection, from the hello to its end. Whatever the peer sends ends at worst in a refusal and
 * a closed connection. Rejects only with errors that are no TidemarkError: those are faults of this program.
 */
export async function serveConnection(
  link: Link,
  peer: Dialled,
  vault: VaultPort,
  clock: Clock,
  signal: AbortSignal,
): Promise<ConnectionEnd> {
  const conversation = new Conversation(link, clock)
  try {
    await serve(conversation, peer, vault, clock, signal)
    await link[Symbol.asyncDispose]()
    return { how: 'closed' }
  } catch (caught) {
    const error = caught instanceof Malformed ? violation(caught.message, caught) : caught
    if (signal.aborted) {
      await link[Symbol.asyncDispose]()
      return { how: 'closed' }
    }
    if (!(error instanceof TidemarkError)) {
      link.destroy('fault')
      throw error
    }
    if (error instanceof RefusedByPeer || error.code === 'unreachable') {
      link.destroy(error.message)
      return { how: error instanceof RefusedByPeer ? 'refused-by-peer' : 'lost', error }
    }
    await conversation.refuse(error)
    return { how: 'refused', error }
  }
}

async function serve(
  conversation: Conversation,
  peer: Dialled,
  vault: VaultPort,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const hello = await conversation.greeting(signal)
  if (hello === undefined) return
  if (hello.kind !== 'hello') throw violation(`${hello.kind} where a hello was expected`)
  const welcome: Welcome = {
    version: commonVersion(hello.versions),
    software: vault.software,
    vault: vault.id,
    now: moment(clock.now()),
    limits: { frameBytes: frameBytesMax },
  }
  if (hello.role.is === 'control') {
    conversation.accepted()
    await conversation.send({ kind: 'welcome', ...welcome })
    return serveControl(
      conversation,
      vault,
      { ...peer, version: welcome.version, software: hello.software, server: hello.server },
      signal,
    )
  }
  // The appender is told of the end of this connection by this signal, before it is disposed of.
  const ended = new AbortController()
  await using appender = await vault.append(peer.agent, hello.role.source, AbortSignal.any([signal, ended.signal]))
  conversation.accepted()
  const journal = { durable: appender.durable, cursor: appender.cursor, chunkKey: vault.chunkKey }
  await conversation.send({ kind: 'welcome', ...welcome, journal })
  try {
    await new JournalService(conversation, appender, journal.durable).run(signal)
  } finally {
    ended.abort(new TidemarkError('unreachable', { message: 'the connection of the agent has ended' }))
  }
}

function commonVersion(offered: readonly number[]): number {
  const common = protocolVersions.filter((version) => offered.includes(version))
  if (common.length > 0) return Math.max(...common)
  throw new TidemarkError('version-refused', {
    message: `the agent speaks the link's versions ${offered.join(', ')}, this vault ${protocolVersions.join(', ')}`,
    hint: `install a release on the ${Math.max(...offered) > Math.max(...protocolVersions) ? 'vault' : 'agent'} that is as new as the other side's`,
  })
}

async function serveControl(
  conversation: Conversation,
  vault: VaultPort,
  { agent, address, certificateExpires, version, software, server }: Omit<AgentPeer, 'roundTripMs'>,
  signal: AbortSignal,
): Promise<void> {
  const takesOrders = version >= orderVersionMin
  using session = vault.control({
    agent,
    ...(address === undefined ? {} : { address }),
    ...(certificateExpires === undefined ? {} : { certificateExpires }),
    version,
    software,
    server,
    roundTripMs: () => conversation.clockOffset?.roundTripMs,
  })
  const orders = session.orders[Symbol.asyncIterator]()
  await together(signal, [
    (inside) => conversation.heartbeat(inside),
    async (inside) => {
      for await (const sources of vault.definitions(agent, inside)) {
        await unlessAborted(conversation.send({ kind: 'definitions', sources }), inside)
      }
    },
    async (inside) => {
      for (;;) {
        const { value, done } = await unlessAborted(orders.next(), inside)
        if (done === true) throw replaced('another control connection')
        if (takesOrders) await unlessAborted(conversation.send(value), inside)
      }
    },
    async (inside) => {
      for (;;) {
        const message = await unlessAborted(conversation.receive(), inside)
        if (message === undefined) return
        if (message.kind !== 'task-report' || !takesOrders) throw violation(`${message.kind} on a control connection`)
        session.reported(message.report)
      }
    },
  ])
}

const replaced = (by: string): TidemarkError =>
  new TidemarkError('already-running', {
    message: `the vault has ended this session: the agent has opened ${by}`,
    hint: 'if this repeats, two processes run with a copy of the same agent directory: enrol one of them anew',
  })

/** One journal's connection after the welcome. */
class JournalService {
  readonly #conversation: Conversation
  readonly #appender: Appender
  /** Frames are handed to the appender one after the other, in the order of arrival. */
  readonly #waiting: Message[] = []
  readonly #arrived = new Wake()
  readonly #room = new Wake()
  readonly #progress = new Wake()
  #inProgressBytes = 0
  #durable: Sequence
  #told: Sequence
  #toldStalled = false
  #failed: { error: unknown } | undefined

  constructor(conversation: Conversation, appender: Appender, durable: Sequence) {
    this.#conversation = conversation
    this.#appender = appender
    this.#durable = durable
    this.#told = durable
  }

  run(signal: AbortSignal): Promise<void> {
    return together(signal, [
      (inside) => this.#read(inside),
      (inside) => this.#handOver(inside),
      (inside) => this.#acknowledge(inside),
      (inside) => this.#request(inside),
      (inside) => this.#conversation.heartbeat(inside, () => this.#tellStalled()),
    ])
  }

  async #read(signal: AbortSignal): Promise<void> {
    for (;;) {
      if (this.#inProgressBytes > inProgressBytesMax) {
        this.#conversation.pauseReading(true)
        await this.#room.until(() => (this.#inProgressBytes <= inProgressBytesMax ? true : undefined), signal)
        this.#conversation.pauseReading(false)
      }
      const message = await unlessAborted(this.#conversation.receive(), signal)
      if (message === undefined) return
      this.#inProgressBytes += weightOf(message)
      this.#waiting.push(message)
      this.#arrived.wake()
    }
  }

  async #handOver(signal: AbortSignal): Promise<void> {
    for (;;) {
      const message = await this.#arrived.until(() => this.#waiting.shift(), signal)
      if (message.kind === 'batch') {
        this.#append(message.bytes, weightOf(message))
        continue
      }
      await unlessAborted(this.#handle(message), signal)
      this.#done(weightOf(message))
    }
  }

  async #handle(message: Message): Promise<void> {
    switch (message.kind) {
      case 'block':
        return this.#appender.block(message.bytes)
      case 'offer':
        return this.#conversation.send({
          kind: 'need',
          tag: message.tag,
          missing: this.#appender.missing(message.ids),
        })
      case 'report':
        return this.#appender.report(message.report, message.now)
      case 'marked':
        return this.#appender.marked(message.tag, message.sequence)
      default:
        throw violation(`${message.kind} from an agent`)
    }
  }

  /** Several batches may be under way; the appender has taken their order when `batch` returns. */
  #append(bytes: Uint8Array, weight: number): void {
    this.#appender.batch(bytes).then(
      () => {
        giveBack(bytes)
        this.#durable = this.#appender.durable
        this.#done(weight)
        this.#progress.wake()
      },
      (error: unknown) => {
        this.#failed ??= { error }
        this.#progress.wake()
      },
    )
  }

  #done(weight: number): void {
    this.#inProgressBytes -= weight
    this.#room.wake()
  }

  /** Cumulative, so what became durable while one acknowledgement was on its way is told by the next. */
  async #acknowledge(signal: AbortSignal): Promise<void> {
    for (;;) {
      const durable = await this.#progress.until(() => {
        if (this.#failed) throw this.#failed.error
        return this.#durable > this.#told ? this.#durable : undefined
      }, signal)
      this.#told = durable
      await unlessAborted(this.#conversation.send({ kind: 'acknowledged', durable }), signal)
    }
  }

  async #request(signal: AbortSignal): Promise<void> {
    const requests = this.#appender.requests[Symbol.asyncIterator]()
    for (;;) {
      const { value, done } = await unlessAborted(requests.next(), signal)
      if (done === true) throw replaced('another one for the same journal')
      await unlessAborted(this.#conversation.send(value), signal)
    }
  }

  async #tellStalled(): Promise<void> {
    const stalled = this.#appender.stalled
    if (stalled === this.#toldStalled) return
    this.#toldStalled = stalled
    await this.#conversation.send({ kind: stalled ? 'stalled' : 'going-on' })
  }
}

const weightFixed = 1024

function weightOf(message: Message): number {
  if (message.kind === 'block' || message.kind === 'batch') return message.bytes.length + weightFixed
  return message.kind === 'offer' ? message.ids.length * 64 + weightFixed : weightFixed
}
