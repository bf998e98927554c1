import type { Clock } from '../base/clock.ts'
import { type BatchTold, batchName, type Tell, type TellBatch } from '../base/tell.ts'
import { decodeBatch } from '../format/batch.ts'
import { isoMoment, moment } from '../model/moment.ts'
import { advance } from '../model/sequence.ts'
import type { Id, SourceDefinition } from '../model/source.ts'
import type { Vault } from '../vault/vault.ts'
import type { Appender, VaultPort } from '../wire/ports.ts'
import { software } from '../wire/software.ts'
import type { Live } from './live.ts'
import type { Tasks } from './tasks/tasks.ts'

export interface PortParts {
  readonly vault: Vault
  readonly live: Live
  readonly tasks: Pick<Tasks, 'connect' | 'tell'>
  readonly clock: Clock
  readonly tell: Tell
  readonly tellBatch?: TellBatch | undefined
}

/** The vault as the link sees it: its journals, and beside them what lives as long as the process. */
export function vaultPort(parts: PortParts): VaultPort {
  const { vault, live, tasks } = parts
  return {
    id: vault.id,
    software,
    chunkKey: vault.registry.chunkKey,
    definitions: (agent, signal) => definitions(parts, agent, signal),
    control: (peer) => {
      const session = tasks.connect(peer)
      tasks.tell(peer.agent, { kind: 'limits', limits: vault.registry.agent(peer.agent).limits ?? [] })
      const met = live.met(peer)
      return {
        ...session,
        [Symbol.dispose]: () => {
          met[Symbol.dispose]()
          session[Symbol.dispose]()
        },
      }
    },
    append: (agent, source, signal) => append(parts, agent, source, signal),
  }
}

/** While an agent follows its definitions it is connected. */
async function* definitions(
  { vault, live, tell }: PortParts,
  agent: Id,
  signal: AbortSignal,
): AsyncGenerator<readonly SourceDefinition[]> {
  const { name } = vault.registry.agent(agent)
  using _connected = live.connected(agent)
  tell(`agent ${name} is connected`, { agent: name })
  try {
    yield* vault.definitions(agent, signal)
  } finally {
    tell(`agent ${name} is away`, { agent: name })
  }
}

async function append(parts: PortParts, agent: Id, source: Id, signal: AbortSignal): Promise<Appender> {
  const { vault, live, clock, tellBatch } = parts
  const appender = await vault.appender(agent, source, signal)
  const liveSource = live.source(source)
  const session = liveSource.enter()
  const before = { sequence: appender.durable as number }
  liveSource.meter.began(appender.durable)
  return {
    get durable() {
      return appender.durable
    },
    get cursor() {
      return appender.cursor
    },
    get stalled() {
      return appender.stalled
    },
    missing: (ids) => appender.missing(ids),
    block: async (bytes) => {
      await appender.block(bytes)
      liveSource.meter.received(bytes.length, clock.monotonicMs())
    },
    batch: async (bytes) => {
      const told = tellBatch && wayOf(source, bytes, clock)
      await appender.batch(bytes)
      const { durable } = appender
      if (told) tellBatch({ ...told, durable: isoMoment(moment(clock.now())) })
      liveSource.meter.durable(durable, durable - before.sequence, bytes.length, clock.monotonicMs())
      before.sequence = durable
    },
    report: (report, agentNow) => liveSource.reported(report, agentNow),
    requests: session.requests,
    marked: (tag, at) => liveSource.marked(tag, at),
    [Symbol.asyncDispose]: async () => {
      session.leave()
      await appender[Symbol.asyncDispose]()
    },
  }
}

/** Where a batch stands that was received now. Only to be told of: the appender reads it by itself. */
function wayOf(source: Id, bytes: Uint8Array, clock: Clock): BatchTold {
  const received = isoMoment(moment(clock.now()))
  const { first, changes } = decodeBatch(bytes)
  const last = advance(first, changes.length - 1)
  return { batch: batchName(source, first), source, first, last, bytes: bytes.length, received }
}
