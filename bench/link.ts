import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { systemRandom } from '../src/base/random.ts'
import { encodeBatch } from '../src/format/batch.ts'
import { lastOf } from '../src/model/batch.ts'
import { decodeBatch } from '../src/format/batch.ts'
import { moment } from '../src/model/moment.ts'
import { beforeFirst, type Sequence } from '../src/model/sequence.ts'
import type { Id } from '../src/model/source.ts'
import { openCredentials, type VaultCredentials } from '../src/wire/authority.ts'
import { Pace } from '../src/wire/pace.ts'
import { createCsr, issueFromCsr } from '../src/wire/pki.ts'
import type { Appender, VaultPort } from '../src/wire/ports.ts'
import { serveConnection } from '../src/wire/serve.ts'
import { type Cargo, JournalSession, type ShippedBatch } from '../src/wire/ship.ts'
import { dialLink, listenTls } from '../src/wire/tls.ts'
import { Wake } from '../src/base/wake.ts'

/**
 * The link alone, through TLS on loopback between two processes, with a vault that throws everything away:
 *
 *   node bench/link.ts
 *
 * prints MB/s (10^6) and seconds of processor per GiB at both ends with blocks of 512 KiB, then how long a small live
 * batch takes from being there to being acknowledged, alone and while bulk goes through the same session.
 */
const blockBytes = 512 * 1024
const blocksPerBatch = 4
const bulkMs = 5000
const liveEveryMs = 10
const liveCount = 400
const agent = 'a'.repeat(32) as Id
const source = '5'.repeat(32) as Id
const never = new AbortController().signal

/** An end that keeps only the last sequence. */
function discardingVault(): VaultPort {
  return {
    id: 'e'.repeat(32) as Id,
    software: 'bench',
    chunkKey: Buffer.alloc(32),
    async *definitions() {
      yield []
    },
    control: () => {
      throw new Error('there is no control connection here')
    },
    append: async (): Promise<Appender> => {
      let durable = beforeFirst
      return {
        get durable() {
          return durable
        },
        cursor: Buffer.alloc(0),
        stalled: false,
        missing: (ids) => ids.map(() => true),
        block: async () => undefined,
        batch: async (bytes) => void (durable = lastOf(decodeBatch(bytes))),
        report: () => undefined,
        requests: {
          [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }),
        },
        marked: () => undefined,
        [Symbol.asyncDispose]: async () => undefined,
      }
    },
  }
}

async function vaultProcess(credentials: VaultCredentials): Promise<void> {
  const port = discardingVault()
  const listener = await listenTls({
    host: '127.0.0.1',
    port: 0,
    credentials,
    admits: () => 'agent',
    link: async (link, peer) => void (await serveConnection(link, peer, port, systemClock, never)),
    http: (socket) => socket.destroy(),
    clock: systemClock,
  })
  process.on('message', () => process.send?.(process.cpuUsage()))
  process.send?.(listener.port)
}

const encoded = (at: Sequence): Uint8Array =>
  encodeBatch({
    first: at,
    settled: true,
    cursor: Buffer.alloc(0),
    changes: [{ moment: moment(1), change: { kind: 'mark', mark: { type: 'user', label: 'bench' } } }],
  })

/** Bulk without end while `bulk` is set, and live batches when they are put in. */
class Load implements Cargo {
  readonly #blocks = Array.from({ length: blocksPerBatch }, () => randomBytes(blockBytes))
  readonly #changed = new Wake()
  readonly #liveSince: number[] = []
  readonly #under = new Map<Sequence, number>()
  bulk = false
  bytes = 0
  acknowledgedBytes = 0
  readonly liveMs: number[] = []
  readonly #sizes: { last: Sequence; bytes: number }[] = []

  live(): void {
    this.#liveSince.push(performance.now())
    this.#changed.wake()
  }

  setBulk(on: boolean): void {
    this.bulk = on
    this.#changed.wake()
  }

  async next(first: Sequence, signal: AbortSignal): Promise<ShippedBatch> {
    const since = await this.#changed.until(() => this.#liveSince.shift() ?? (this.bulk ? 0 : undefined), signal)
    const isBulk = since === 0
    const blocks = isBulk ? this.#blocks : []
    if (!isBulk) this.#under.set(first, since)
    const bytes = blocks.length * blockBytes
    this.#sizes.push({ last: first, bytes })
    return { first, last: first, blocks, bytes: encoded(first), bulk: isBulk }
  }

  unanswered = () => []

  acknowledged(durable: Sequence): void {
    while (this.#sizes[0] && this.#sizes[0].last <= durable) this.acknowledgedBytes += this.#sizes.shift()!.bytes
    for (const [at, since] of this.#under) {
      if (at > durable) break
      this.#under.delete(at)
      this.liveMs.push(performance.now() - since)
    }
  }

  answered = () => undefined
  requested = () => undefined
  stalled = () => undefined
}

const cpuOf = async (child: ChildProcess): Promise<NodeJS.CpuUsage> => {
  child.send('cpu')
  return ((await once(child, 'message')) as [NodeJS.CpuUsage])[0]
}

const secondsBetween = (from: NodeJS.CpuUsage, to: NodeJS.CpuUsage): number =>
  (to.user + to.system - from.user - from.system) / 1e6

const percentile = (values: readonly number[], part: number): string =>
  (values.toSorted((one, other) => one - other)[Math.floor(values.length * part)] ?? Number.NaN).toFixed(1)

async function agentProcess(directory: string): Promise<void> {
  const credentials = await openCredentials(directory, ['127.0.0.1'], { clock: systemClock, random: systemRandom })
  const { csr, key } = await createCsr()
  const now = moment(systemClock.now())
  const certificate = await issueFromCsr(credentials.authority, csr, agent, now, systemRandom)
  const child = fork(import.meta.filename, ['vault', directory])
  try {
    const [port] = (await once(child, 'message')) as [number]
    const authority = credentials.authority.certificate
    const link = await dialLink({ host: '127.0.0.1', port, authority, credential: { certificate, key } }, never)
    const session = await JournalSession.open(link, { source, software: 'bench' }, systemClock, never)
    const load = new Load()
    const stop = new AbortController()
    const running = session.run(load, new Pace([], systemClock), stop.signal)

    load.setBulk(true)
    await systemClock.sleep(1000)
    const before = {
      vault: await cpuOf(child),
      agent: process.cpuUsage(),
      bytes: load.acknowledgedBytes,
      at: performance.now(),
    }
    await systemClock.sleep(bulkMs)
    const bytes = load.acknowledgedBytes - before.bytes
    const seconds = (performance.now() - before.at) / 1000
    const agentCpu = secondsBetween(before.agent, process.cpuUsage())
    const vaultCpu = secondsBetween(before.vault, await cpuOf(child))
    const gib = bytes / 1024 ** 3
    console.log(
      `bulk, blocks of 512 KiB: ${(bytes / 1e6 / seconds).toFixed(0)} MB/s, window ${(session.bulkBytesMax / 1e6).toFixed(1)} MB`,
    )
    console.log(`processor per GiB: agent ${(agentCpu / gib).toFixed(2)} s, vault ${(vaultCpu / gib).toFixed(2)} s`)

    for (const bulk of [true, false]) {
      load.setBulk(bulk)
      await systemClock.sleep(500)
      load.liveMs.length = 0
      for (let count = 0; count < liveCount; count++) {
        load.live()
        await systemClock.sleep(liveEveryMs)
      }
      await systemClock.sleep(500)
      const { liveMs } = load
      console.log(
        `live batch to acknowledged, ${bulk ? 'while bulk runs' : 'alone'}: p50 ${percentile(liveMs, 0.5)} ms, p99 ${percentile(liveMs, 0.99)} ms (${liveMs.length})`,
      )
    }
    stop.abort()
    await running
  } finally {
    child.kill()
  }
}

const [role, given] = process.argv.slice(2)
if (role === 'vault') {
  await vaultProcess(await openCredentials(given!, ['127.0.0.1'], { clock: systemClock, random: systemRandom }))
} else {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-bench-link-'))
  try {
    await agentProcess(directory)
  } finally {
    rmSync(directory, { recursive: true })
  }
}
