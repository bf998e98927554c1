import { createSecretKey } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { encodeBatch } from '../../src/format/batch.ts'
import { encodeBlock } from '../../src/format/block.ts'
import { chunkIdOf } from '../../src/format/keys.ts'
import { diskPath } from '../../src/format/volume-tree.ts'
import { batchBytesMax, type Stamped } from '../../src/model/batch.ts'
import type { Attributes, Change, Extent, Range } from '../../src/model/change.ts'
import { moment, type Moment } from '../../src/model/moment.ts'
import { sequence } from '../../src/model/sequence.ts'
import { defaultPolicy } from '../../src/model/source.ts'
import { directoryStore } from '../../src/store/directory.ts'
import { initVault } from '../../src/vault-server/init.ts'
import { cataloguePath, derivedFolder, readVaultKey } from '../../src/vault-server/place.ts'
import { runVault } from '../../src/vault-server/run.ts'
import { Vault } from '../../src/vault/vault.ts'
import { Seeded } from '../sim/random.ts'

/** A step of a volume, as the test remembers it: what the vault made of it is judged by this. */
export type VolumeStep =
  | { readonly kind: 'write'; readonly at: number; readonly data: Buffer }
  | { readonly kind: 'zero'; readonly at: number; readonly bytes: number }
  /** Parts that came as chunks, as the first copy does. */
  | {
      readonly kind: 'copied'
      readonly parts: readonly { readonly at: number; readonly data: Buffer }[]
      readonly zeros: readonly Range[]
    }
  | { readonly kind: 'flush' | 'suspect' | 'complete' }
  | { readonly kind: 'begin' }

export interface VolumeVault {
  readonly directory: string
  readonly source: string
  readonly bytes: number
  /** The step of sequence 1 first. */
  readonly steps: readonly VolumeStep[]
  readonly moments: readonly Moment[]
}

export interface VolumeStory {
  readonly seed: number
  readonly bytes: number
  readonly changes: number
  /** Sequences of the marks that begin and end a span that is suspect. */
  readonly suspect?: { readonly from: number; readonly to: number }
  /** How far back changes are kept; absent: for ever. */
  readonly windowMs?: number
  readonly segmentBytes?: number
}

const copyBytes = 64 * 1024
const sectorBytes = 512
const attributes: Attributes = { mode: 0o600, uid: 0, gid: 0, modifiedNs: 0n, xattrs: [] }
const startMoment = 1_700_000_000_000_000

/** A vault in a new directory, closed, that holds the journal of one volume `disk-1` with a random past. */
export async function volumeVault(directory: string, story: VolumeStory): Promise<VolumeVault> {
  const { seed, bytes, windowMs = 1e15, segmentBytes } = story
  const parts = { clock: systemClock, random: systemRandom }
  await initVault({ directory, name: 'north', addresses: [] }, parts)
  const store = await directoryStore(directory)
  await mkdir(derivedFolder(directory), { recursive: true })
  const { key } = await readVaultKey(directory, store)
  const limits = segmentBytes === undefined ? {} : { limits: { segmentBytes } }
  await using vault = await Vault.open({ store, key, ...parts, ...limits, cataloguePath: cataloguePath(directory) })
  const { id: agent } = await vault.registry.addAgent({
    name: 'server',
    certificates: [],
    enrolled: moment(startMoment),
  })
  const { id: source } = await vault.addSource({
    name: 'disk-1',
    kind: 'volume',
    agent,
    paths: [],
    exclude: [],
    volume: { backing: '/nowhere/disk', logBytesMax: 1024 ** 3 },
    policy: { ...defaultPolicy, windowMs },
    paused: false,
  })
  const appender = await vault.appender(agent, source, new AbortController().signal)
  const chunkKey = createSecretKey(vault.chunkKey)
  const random = new Seeded(seed, 'volume')
  const steps = [...storyOf(random, story)]
  let when = startMoment
  const moments: Moment[] = []
  const stamped: Stamped[] = []
  let first = 1
  const ship = async (): Promise<void> => {
    if (stamped.length === 0) return
    const cursor = Buffer.from(`${first}`)
    await appender.batch(encodeBatch({ first: sequence(first), settled: true, cursor, changes: stamped }))
    first += stamped.length
    stamped.length = 0
  }
  let batchBytes = 0
  for (const step of steps) {
    if (step.kind === 'copied' && step.parts.length > 0) {
      await appender.block(encodeBlock(step.parts.map(({ data }) => ({ id: chunkIdOf(chunkKey, data), data }))))
    }
    when += random.integer(0, 3) * 1000
    moments.push(moment(when))
    stamped.push({ moment: moment(when), change: changeOf(step, bytes, (data) => chunkIdOf(chunkKey, data)) })
    batchBytes += step.kind === 'write' ? step.data.length : 0
    if (!random.chance(0.04) && batchBytes < batchBytesMax / 4) continue
    await ship()
    batchBytes = 0
  }
  await ship()
  await appender[Symbol.asyncDispose]()
  return { directory, source: 'disk-1', bytes, steps, moments }
}

/** The first copy, region after region, among writes; then writes alone. */
function* storyOf(random: Seeded, { bytes, changes, suspect }: VolumeStory): Generator<VolumeStep> {
  yield { kind: 'begin' }
  const regions = Array.from({ length: Math.ceil(bytes / copyBytes) }, (_, number) => number * copyBytes)
  const hot = random.integer(0, bytes / sectorBytes - 16) * sectorBytes
  for (let count = 1; count < changes; count++) {
    if (count + 1 === suspect?.from) yield { kind: 'suspect' }
    else if (count + 1 === suspect?.to) yield { kind: 'complete' }
    else if (regions.length > 0 && random.chance(0.2)) {
      const taken = regions.splice(0, random.integer(1, 8))
      const parts = taken
        .filter(() => random.chance(0.6))
        .map((at) => ({ at, data: Buffer.from(random.bytes(Math.min(copyBytes, bytes - at))) }))
      const zeros = taken
        .filter((at) => parts.every((part) => part.at !== at))
        .map((at) => ({ at, bytes: Math.min(copyBytes, bytes - at) }))
      yield { kind: 'copied', parts, zeros }
    } else if (random.chance(0.15)) yield { kind: 'flush' }
    else if (random.chance(0.1)) {
      const at = random.integer(0, bytes / sectorBytes - 1) * sectorBytes
      const most = (bytes - at) / sectorBytes
      yield { kind: 'zero', at, bytes: Math.min(random.skewed(1, 4096), most) * sectorBytes }
    } else {
      const at = random.chance(0.3) ? hot : random.integer(0, bytes / sectorBytes - 1) * sectorBytes
      const length = Math.min(random.pick([1, 8, 8, 8, 16, 32, 128]), (bytes - at) / sectorBytes) * sectorBytes
      yield { kind: 'write', at, data: random.chance(0.1) ? Buffer.alloc(length) : Buffer.from(random.bytes(length)) }
    }
  }
}

function changeOf(step: VolumeStep, bytes: number, idOf: (data: Buffer) => ReturnType<typeof chunkIdOf>): Change {
  const path = diskPath
  switch (step.kind) {
    case 'begin':
      return { kind: 'put', path, attributes, content: { type: 'file', bytes, extents: [] } }
    case 'write':
      return { kind: 'write', path, at: step.at, data: step.data }
    case 'zero':
      return { kind: 'zero', path, at: step.at, bytes: step.bytes }
    case 'flush':
      return { kind: 'mark', mark: { type: 'flush' } }
    case 'suspect':
    case 'complete':
      return { kind: 'mark', mark: { type: step.kind, reason: 'spool-full' } }
    default: {
      const extents: Extent[] = step.parts.map(({ at, data }) => ({ at, bytes: data.length, chunk: idOf(data) }))
      return { kind: 'patch', path, attributes, bytes, extents, zeros: [...step.zeros] }
    }
  }
}

/** The volume as it stood after each step, told by a second account: bytes in memory. Goes forward only. */
export class VolumeReplay {
  readonly #steps: readonly VolumeStep[]
  readonly disk: Buffer
  at = 0

  constructor({ steps, bytes }: VolumeVault) {
    this.#steps = steps
    this.disk = Buffer.alloc(bytes)
  }

  /** The volume after the step of that sequence. */
  to(sequenceWanted: number): Buffer {
    for (; this.at < sequenceWanted; this.at++) this.#apply(this.#steps[this.at] as VolumeStep)
    return this.disk
  }

  #apply(step: VolumeStep): void {
    if (step.kind === 'write') step.data.copy(this.disk, step.at)
    else if (step.kind === 'zero') this.disk.fill(0, step.at, step.at + step.bytes)
    else if (step.kind === 'copied') {
      for (const { at, data } of step.parts) data.copy(this.disk, at)
      for (const { at, bytes } of step.zeros) this.disk.fill(0, at, at + bytes)
    }
  }
}

/** The vault of that directory in this process, until it is disposed; resolves once it answers. */
export async function runningVault(
  directory: string,
  { clock = systemClock, told = () => {} }: { readonly clock?: Clock; readonly told?: (line: string) => void } = {},
): Promise<AsyncDisposable> {
  const stop = new AbortController()
  const answers = Promise.withResolvers<void>()
  const ended = runVault(
    { directory, host: '127.0.0.1', port: 0 },
    {
      clock,
      random: systemRandom,
      tell: (line) => {
        told(line)
        if (line.includes('listens on')) answers.resolve()
      },
    },
    stop.signal,
  ).catch((error: unknown) => {
    answers.reject(error)
    if (error !== stop.signal.reason) throw error
  })
  await answers.promise
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error('the test is over'))
      await ended
    },
  }
}

export const apiSocketOf = (directory: string): string => join(directory, 'api.sock')
