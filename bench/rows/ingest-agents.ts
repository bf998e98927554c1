import { createSecretKey } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { joinVault, AgentHome } from '../../src/agent/identity.ts'
import { chunkKeyAnswer, sourceStatus } from '../../src/api/schemas.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { encodeBatch } from '../../src/format/batch.ts'
import { encodeBlock } from '../../src/format/block.ts'
import { chunkIdOf } from '../../src/format/keys.ts'
import type { Change } from '../../src/model/change.ts'
import { moment } from '../../src/model/moment.ts'
import { fromUtf8, treePath } from '../../src/model/path.ts'
import { advance, beforeFirst, type Sequence } from '../../src/model/sequence.ts'
import type { Id } from '../../src/model/source.ts'
import { apiClient, vaultDoor } from '../../src/wire/http-client.ts'
import { Pace } from '../../src/wire/pace.ts'
import { type Cargo, JournalSession, type ShippedBatch } from '../../src/wire/ship.ts'
import { software } from '../../src/wire/software.ts'
import { dialLink } from '../../src/wire/tls.ts'
import { Chance } from '../dataset/chance.ts'
import { randomLooking } from '../dataset/database-pages.ts'
import { SourceText } from '../dataset/source-text.ts'

/**
 * Agents whose captures are simulated: they join, connect and ship as real ones do, but what they ship was made
 * before, so that nothing is measured but the vault. Started by ingest.ts, which says when to go.
 */
export interface AgentsTask {
  readonly host: string
  readonly port: number
  /** One token for each agent. */
  readonly tokens: readonly string[]
  readonly names: readonly string[]
  readonly load: Load
}

/** Of each agent: new content in blocks of a mebibyte that cannot be compressed, or small files within the batches. */
export type Load =
  | { readonly of: 'content'; readonly bytes: number }
  | { readonly of: 'changes'; readonly changes: number }

export type AgentsReport =
  | { readonly is: 'ready' }
  | { readonly is: 'done'; readonly shippedBytes: number; readonly changes: number }

const chunkBytes = 64 * 1024
const chunksPerBlock = 16
const changesPerBatch = 1000
const linesPerFile = 10
const attributes = { mode: 0o644, uid: 0, gid: 0, modifiedNs: 1_795_000_000_000_000_000n, xattrs: [] }
const never = new AbortController().signal

process.once('message', (task: AgentsTask) => void runAgents(task))

async function runAgents(task: AgentsTask): Promise<void> {
  const start = new AbortController()
  const agents: SimulatedAgent[] = []
  for (const [index, token] of task.tokens.entries()) {
    agents.push(await SimulatedAgent.join(task, token, task.names[index] as string))
  }
  const shipped = await Promise.all(agents.map((agent) => agent.connect(start.signal)))
  report({ is: 'ready' })
  await new Promise((resolve) => process.once('message', resolve))
  start.abort()
  await Promise.all(shipped.map(({ done }) => done))
  const sum = (of: 'shippedBytes' | 'changes'): number => agents.reduce((total, agent) => total + agent[of], 0)
  report({ is: 'done', shippedBytes: sum('shippedBytes'), changes: sum('changes') })
  process.disconnect?.()
}

const report = (message: AgentsReport): void => void process.send?.(message)

class SimulatedAgent {
  readonly #home: AgentHome
  readonly #source: Id
  readonly #batches: readonly ShippedBatch[]

  private constructor(home: AgentHome, source: Id, batches: readonly ShippedBatch[]) {
    this.#home = home
    this.#source = source
    this.#batches = batches
  }

  static async join({ host, port, load }: AgentsTask, token: string, name: string): Promise<SimulatedAgent> {
    const directory = mkdtempSync(join(tmpdir(), 'tidemark-simulated-agent-'))
    try {
      const joining = { directory: join(directory, 'agent'), host, port, token, name }
      await joinVault(joining, { random: systemRandom, signal: never })
      const home = await AgentHome.open(join(directory, 'agent'))
      using door = vaultDoor({ ...home.identity, credential: home.credential })
      const vault = apiClient(door)
      const request = { name, kind: 'files', paths: ['/simulated'] }
      const { id } = await vault.json('POST', '/v1/sources', sourceStatus, request)
      const { chunkKey } = await vault.json('GET', '/v1/chunk-key', chunkKeyAnswer)
      const seed = Number.parseInt(home.identity.agent.slice(0, 8), 16)
      const batches =
        load.of === 'content'
          ? contentBatches(load.bytes, seed, Buffer.from(chunkKey, 'base64'))
          : smallFileBatches(load.changes, seed)
      return new SimulatedAgent(home, id as Id, batches)
    } finally {
      rmSync(directory, { recursive: true })
    }
  }

  /** Ships from `start` on; `done` resolves when the vault has acknowledged all of it. */
  async connect(start: AbortSignal): Promise<{ readonly done: Promise<void> }> {
    const { identity, credential } = this.#home
    const link = await dialLink({ ...identity, credential }, never)
    const session = await JournalSession.open(link, { source: this.#source, software }, systemClock, never)
    const finished = new AbortController()
    const cargo = new Prepared(this.#batches, start, () => finished.abort())
    const shipping = async (): Promise<void> => {
      await session.run(cargo, new Pace([], systemClock), finished.signal)
      if (!finished.signal.aborted) throw new Error('the vault closed the connection before all was acknowledged')
    }
    return { done: shipping() }
  }

  get shippedBytes(): number {
    return this.#batches.reduce(
      (sum, { bytes, blocks }) => blocks.reduce((all, block) => all + block.length, sum + bytes.length),
      0,
    )
  }

  get changes(): number {
    return this.#batches.at(-1)?.last ?? 0
  }
}

class Prepared implements Cargo {
  readonly #batches: ReadonlyMap<Sequence, ShippedBatch>
  readonly #last: Sequence
  readonly #start: AbortSignal
  readonly #done: () => void

  constructor(batches: readonly ShippedBatch[], start: AbortSignal, done: () => void) {
    this.#start = start
    this.#batches = new Map(batches.map((batch) => [batch.first, batch]))
    this.#last = batches.at(-1)?.last ?? beforeFirst
    this.#done = done
  }

  async next(first: Sequence, signal: AbortSignal): Promise<ShippedBatch> {
    if (!this.#start.aborted) await once(this.#start, 'abort', { signal })
    const batch = this.#batches.get(first)
    return batch ?? new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }

  unanswered(): [] {
    return []
  }

  acknowledged(durable: Sequence): void {
    if (durable >= this.#last) this.#done()
  }

  answered(): void {}
  requested(): void {}
  stalled(): void {}
}

function contentBatches(bytes: number, seed: number, chunkKey: Uint8Array): ShippedBatch[] {
  const key = createSecretKey(chunkKey)
  return Array.from({ length: Math.max(1, Math.round(bytes / (chunkBytes * chunksPerBlock))) }, (_, number) => {
    const data = randomLooking((seed + number) >>> 0, chunkBytes * chunksPerBlock)
    const chunks = Array.from({ length: chunksPerBlock }, (_chunk, index) => {
      const piece = data.subarray(index * chunkBytes, (index + 1) * chunkBytes)
      return { id: chunkIdOf(key, piece), data: piece }
    })
    const extents = chunks.map(({ id }, index) => ({ at: index * chunkBytes, bytes: chunkBytes, chunk: id }))
    const content = { type: 'file', bytes: data.length, extents } as const
    return batchOf(
      advance(beforeFirst, number + 1),
      [{ kind: 'put', path: path(`large/${number}`), attributes, content }],
      [encodeBlock(chunks)],
    )
  })
}

function smallFileBatches(changes: number, seed: number): ShippedBatch[] {
  const text = new SourceText(seed % 1000, new Chance(seed))
  return Array.from({ length: Math.max(1, Math.round(changes / changesPerBatch)) }, (_, number) => {
    const puts = Array.from({ length: changesPerBatch }, (_change, index): Change => {
      const data = Buffer.from(Array.from({ length: linesPerFile }, () => text.line()).join(''))
      const content = { type: 'file', bytes: data.length, extents: [{ at: 0, bytes: data.length, data }] } as const
      return { kind: 'put', path: path(`small/${number % 50}/${index}-${number}`), attributes, content }
    })
    return batchOf(advance(beforeFirst, number * changesPerBatch + 1), puts, [])
  })
}

const path = (below: string) => treePath(fromUtf8(`simulated/${below}`))

function batchOf(first: Sequence, changes: readonly Change[], blocks: readonly Uint8Array[]): ShippedBatch {
  const now = moment(systemClock.now())
  const bytes = encodeBatch({
    first,
    settled: true,
    cursor: Buffer.from('simulated'),
    changes: changes.map((change) => ({ moment: now, change })),
  })
  return { first, last: advance(first, changes.length - 1), blocks, bytes, bulk: true }
}
