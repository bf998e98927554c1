import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { joinVault, AgentHome } from '../../src/agent/identity.ts'
import { sourceStatus } from '../../src/api/schemas.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { encodeBatch } from '../../src/format/batch.ts'
import { moment } from '../../src/model/moment.ts'
import { fromUtf8, treePath } from '../../src/model/path.ts'
import { beforeFirst, type Sequence } from '../../src/model/sequence.ts'
import type { Id } from '../../src/model/source.ts'
import { apiClient, vaultDoor } from '../../src/wire/http-client.ts'
import { Pace } from '../../src/wire/pace.ts'
import { type Cargo, followVault, JournalSession, type ShippedBatch } from '../../src/wire/ship.ts'
import { software } from '../../src/wire/software.ts'
import { dialLink } from '../../src/wire/tls.ts'

/**
 * Servers whose captures are simulated: they join, connect, ship and report over the real link, for as long as they are let. Started by
 * console.ts, which wants many of them that live.
 */
export interface FleetTask {
  readonly host: string
  readonly port: number
  /** One for each server. */
  readonly tokens: readonly string[]
  readonly sourcesEach: number
  /** Between two changes of one source. */
  readonly changeMs: number
}

const reportMs = 1000
const attributes = { mode: 0o644, uid: 0, gid: 0, modifiedNs: 1_795_000_000_000_000_000n, xattrs: [] }
const never = new AbortController().signal

process.once('message', (task: FleetTask) => void runFleet(task))

async function runFleet(task: FleetTask): Promise<void> {
  for (const [index, token] of task.tokens.entries()) await serve(task, token, `server-${process.pid}-${index}`)
  process.send?.('ready')
}

async function serve({ host, port, sourcesEach, changeMs }: FleetTask, token: string, name: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-simulated-server-'))
  try {
    await joinVault(
      { directory: join(directory, 'agent'), host, port, token, name },
      { random: systemRandom, signal: never },
    )
    const { identity, credential } = await AgentHome.open(join(directory, 'agent'))
    using door = vaultDoor({ ...identity, credential })
    const dial = () => dialLink({ ...identity, credential }, never)
    const told = {
      definitions: () => undefined,
      reporting: () => ({ [Symbol.dispose]: () => undefined }),
      ordered: () => undefined,
      cancelled: () => undefined,
      limited: () => undefined,
    }
    endsWithProcess(
      followVault(await dial(), { software, server: { minutesAhead: 0, limits: [] } }, told, systemClock, never),
    )
    for (let count = 0; count < sourcesEach; count++) {
      const request = { name: `${name}-${count}`, kind: 'files', paths: ['/simulated'], system: `system-${name}` }
      const { id } = await apiClient(door).json('POST', '/v1/sources', sourceStatus, request)
      const session = await JournalSession.open(await dial(), { source: id as Id, software }, systemClock, never)
      const cargo = new Trickle(changeMs)
      endsWithProcess(session.run(cargo, new Pace([], systemClock), never))
      endsWithProcess(reportAlways(session, cargo))
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** What should go on for ever did not. */
function endsWithProcess(work: Promise<void>): void {
  void work.then(() => process.exit(1))
}

async function reportAlways(session: JournalSession, cargo: Trickle): Promise<void> {
  for (;;) {
    const covered = moment(systemClock.now())
    session.report({ state: 'live', covered, upTo: cargo.last, dirty: 0, watching: 'simulated', problems: [] })
    await sleep(reportMs)
  }
}

/** A small file changes now and then. */
class Trickle implements Cargo {
  readonly #changeMs: number
  last: Sequence = beforeFirst

  constructor(changeMs: number) {
    this.#changeMs = changeMs
  }

  async next(first: Sequence): Promise<ShippedBatch> {
    // The first at any time within the span, so that they do not all come at once.
    await sleep(this.last === beforeFirst ? Math.random() * this.#changeMs : this.#changeMs)
    const data = Buffer.from(`changed for the ${first}th time\n`.repeat(10))
    const content = { type: 'file', bytes: data.length, extents: [{ at: 0, bytes: data.length, data }] } as const
    const path = treePath(fromUtf8(`simulated/${first % 100}`))
    const now = moment(systemClock.now())
    const changes = [{ moment: now, change: { kind: 'put', path, attributes, content } as const }]
    const bytes = encodeBatch({ first, settled: true, cursor: Buffer.from('simulated'), changes })
    this.last = first
    return { first, last: first, blocks: [], bytes, bulk: false }
  }

  unanswered(): [] {
    return []
  }

  acknowledged(): void {}
  answered(): void {}
  requested(): void {}
  stalled(): void {}
}
