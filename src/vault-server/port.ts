import type { Clock } from '../base/clock.ts'
import type { Id, SourceDefinition } from '../model/source.ts'
import type { Vault } from '../vault/vault.ts'
import type { Appender, VaultPort } from '../wire/ports.ts'
import { software } from '../wire/software.ts'
import type { Live } from './live.ts'
import type { Tasks } from './tasks/tasks.ts'

/** The vault as the link sees it: its journals, and beside them what lives as long as the process. */
export function vaultPort(vault: Vault, live: Live, clock: Clock, tasks: Pick<Tasks, 'connect'>): VaultPort {
  return {
    id: vault.id,
    software,
    chunkKey: vault.registry.chunkKey,
    definitions: (agent, signal) => definitions(vault, live, agent, signal),
    control: (agent, peer) => tasks.connect(agent, peer),
    append: (agent, source, signal) => append(vault, live, clock, agent, source, signal),
  }
}

/** While an agent follows its definitions it is connected. */
async function* definitions(
  vault: Vault,
  live: Live,
  agent: Id,
  signal: AbortSignal,
): AsyncGenerator<readonly SourceDefinition[]> {
  using _connected = live.connected(agent)
  yield* vault.definitions(agent, signal)
}

async function append(
  vault: Vault,
  live: Live,
  clock: Clock,
  agent: Id,
  source: Id,
  signal: AbortSignal,
): Promise<Appender> {
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
      await appender.batch(bytes)
      const { durable } = appender
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
