import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import type { Capture, CaptureOutput } from '../../src/capture/capture.ts'
import { openPostgresCapture } from '../../src/capture/postgres/postgres-capture.ts'
import { decodeBatch } from '../../src/format/batch.ts'
import { decodeBlock } from '../../src/format/block.ts'
import type { Change, ChunkId, Extent, Mark } from '../../src/model/change.ts'
import type { CaptureReport } from '../../src/model/report.ts'
import { beforeFirst, type Sequence } from '../../src/model/sequence.ts'
import { defaultPolicy, defaultPostgres, type Id, type PostgresSettings } from '../../src/model/source.ts'
import type { Cluster } from './postgres.ts'
import { until } from './until.ts'

const chunkKey = Buffer.alloc(32, 7)
const settleMsMax = 120_000

export interface KeptBatch {
  readonly last: Sequence
  readonly cursor: Uint8Array
  readonly changes: readonly Change[]
  readonly bulk: boolean
  readonly settled: boolean
  readonly bytes: number
}

interface TreeFile {
  bytes: Buffer
  length: number
}

/** What the changes of a `postgres` source make, in the simplest way. */
export class FileTree {
  readonly files = new Map<string, TreeFile>()
  readonly folders = new Set<string>()
  readonly links = new Map<string, string>()
  readonly #chunk: (id: ChunkId) => Uint8Array

  constructor(chunk: (id: ChunkId) => Uint8Array) {
    this.#chunk = chunk
  }

  apply(change: Change): void {
    switch (change.kind) {
      case 'put': {
        const { content, path } = change
        const isFolderStill = content.type === 'directory' && this.folders.has(path)
        if (!isFolderStill) this.#remove(path)
        const parent = dirname(path)
        assert.ok(parent === '.' || this.folders.has(parent), `${path} has a folder`)
        if (content.type === 'directory') this.folders.add(path)
        else if (content.type === 'symlink') this.links.set(path, content.target)
        else if (content.type === 'file') {
          this.files.set(path, { bytes: Buffer.alloc(content.bytes), length: content.bytes })
          this.#write(path, content.extents)
        } else assert.fail(`a ${content.type} in a database`)
        return
      }
      case 'patch':
        this.#resize(path(change), change.bytes)
        this.#write(path(change), change.extents)
        return
      case 'write': {
        const known = this.files.get(change.path)
        assert.equal(change.at, Math.min(change.at, known?.length ?? 0), `no gap in ${change.path}`)
        this.#resize(change.path, Math.max(known?.length ?? 0, change.at + change.data.length))
        this.files.get(change.path)?.bytes.set(change.data, change.at)
        return
      }
      case 'truncate':
        return this.#resize(change.path, change.bytes)
      case 'remove':
        return this.#remove(change.path)
      case 'mark':
      case 'attributes':
        return
      default:
        assert.fail(`a ${change.kind} of a database`)
    }
  }

  get paths(): string[] {
    return [...this.files.keys()].sort()
  }

  content(of: string): Buffer {
    const file = this.files.get(of)
    assert.ok(file, `${of} in ${this.paths.join(' ')}`)
    return file.bytes.subarray(0, file.length)
  }

  /** What is at and below `top`, as files in a folder of this machine. */
  writeTo(target: string, top: string): void {
    const below = (name: string): boolean => name === top || name.startsWith(`${top}/`)
    const at = (name: string): string => join(target, name.slice(top.length))
    mkdirSync(target, { recursive: true, mode: 0o700 })
    for (const name of [...this.folders].filter(below).sort()) mkdirSync(at(name), { recursive: true, mode: 0o700 })
    for (const name of this.paths.filter(below)) writeFileSync(at(name), this.content(name))
    for (const [name, to] of this.links) if (below(name)) symlinkSync(to, at(name))
  }

  #write(name: string, extents: readonly Extent[]): void {
    const file = this.files.get(name)
    assert.ok(file)
    for (const extent of extents) file.bytes.set('data' in extent ? extent.data : this.#chunk(extent.chunk), extent.at)
  }

  #resize(name: string, length: number): void {
    const file = this.files.get(name) ?? { bytes: Buffer.alloc(0), length: 0 }
    if (length > file.bytes.length) {
      const grown = Buffer.alloc(Math.max(length, 2 * file.bytes.length))
      file.bytes.copy(grown)
      file.bytes = grown
    }
    if (length < file.length) file.bytes.fill(0, length)
    file.length = length
    this.files.set(name, file)
  }

  #remove(top: string): void {
    const isBelow = (name: string): boolean => name === top || name.startsWith(`${top}/`)
    for (const kind of [this.files, this.links]) for (const name of kind.keys()) if (isBelow(name)) kind.delete(name)
    for (const name of this.folders) if (isBelow(name)) this.folders.delete(name)
  }
}

const path = ({ path: name }: { path: string }): string => name

/** The agent and the vault of one source: opens the capture, keeps what it says, answers and acknowledges. */
export class PostgresCaptureDriver implements AsyncDisposable {
  batches: KeptBatch[] = []
  readonly chunks = new Map<ChunkId, Buffer>()
  reports: CaptureReport[] = []
  marked: { tag: number; sequence: Sequence }[] = []
  offered = 0
  sentBytes = 0
  isAcknowledging = true
  /** Takes nothing more when it has so many batches of bulk; what the capture says then is lost when it is closed. */
  bulkMax = Infinity
  /** How long it takes over a batch. */
  batchMs = 0
  #isClosing = false
  readonly #settings: PostgresSettings
  readonly id: Id
  #capture: Capture | undefined
  #taking: Promise<void> = Promise.resolve()
  #failure: unknown

  constructor(url: string, settings: Partial<PostgresSettings> = {}, id = '0123456789abcdef0123456789abcdef') {
    this.#settings = { ...defaultPostgres, url, ...settings }
    this.id = id as Id
  }

  get last(): Sequence {
    return this.batches.at(-1)?.last ?? beforeFirst
  }

  get report(): CaptureReport | undefined {
    return this.reports.at(-1)
  }

  get capture(): Capture {
    assert.ok(this.#capture, 'it is open')
    return this.#capture
  }

  async open({ line = true } = {}): Promise<void> {
    const capture = await openPostgresCapture(
      {
        source: {
          id: this.id,
          name: 'test',
          kind: 'postgres',
          agent: '1'.repeat(32) as Id,
          paths: [],
          exclude: [],
          postgres: this.#settings,
          policy: defaultPolicy,
          paused: false,
        },
        stateDirectory: '/nonexistent',
        resumeAt: this.last,
        cursor: this.batches.at(-1)?.cursor ?? new Uint8Array(),
        chunkKey,
      },
      { user: 'postgres', homeFolder: '/nonexistent', environment: {} },
    )
    this.#capture = capture
    this.#isClosing = false
    this.reports = []
    capture.line(line)
    this.#taking = this.#take(capture).catch((error: unknown) => {
      this.#failure = error
    })
  }

  get bulkBatches(): number {
    return this.batches.filter(({ bulk }) => bulk).length
  }

  async close(): Promise<void> {
    this.#isClosing = true
    await this.#capture?.[Symbol.asyncDispose]()
    this.#capture = undefined
    await this.#taking
    this.#rethrow()
  }

  #rethrow(): void {
    const error = this.#failure
    this.#failure = undefined
    if (error !== undefined) throw error
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** As after a crash that lost everything after this many batches. */
  loseAllBut(count: number): void {
    this.batches = this.batches.slice(0, count)
  }

  acknowledge(): void {
    this.capture.acknowledged?.(this.last)
  }

  tree(count = this.batches.length): FileTree {
    const tree = new FileTree((id) => {
      const chunk = this.chunks.get(id)
      assert.ok(chunk, 'a chunk is sent before it is referred to')
      return chunk
    })
    for (const { changes } of this.batches.slice(0, count)) for (const change of changes) tree.apply(change)
    return tree
  }

  get marks(): Mark[] {
    return this.batches.flatMap(({ changes }) =>
      changes.flatMap((change) => (change.kind === 'mark' ? [change.mark] : [])),
    )
  }

  changeAt(sequence: number): Change | undefined {
    const batch = this.batches.find(({ last }) => last >= sequence)
    return batch?.changes[batch.changes.length - 1 - (batch.last - sequence)]
  }

  until(isSo: () => boolean, what = 'it comes about'): Promise<void> {
    const why = (): string => `${what}; ${JSON.stringify(this.report)}`
    const look = (): boolean => {
      this.#rethrow()
      return isSo()
    }
    return until(why, look, settleMsMax)
  }

  /** Until nothing is taken any more, and all that was taken before is here: the line must have been cut. */
  async idle(cluster: Cluster): Promise<void> {
    const active = 'SELECT 1 FROM pg_replication_slots WHERE active'
    await until('nothing streams', async () => (await cluster.sql(active)).length === 0)
    // Its own batch is made after all others.
    const before = this.marked.length
    this.capture.mark(-1, 'idle')
    await this.until(() => this.marked.length > before, 'it is marked')
  }

  /** Until all that the server has now is here. */
  async covered(): Promise<void> {
    // By the clock of the capture, to the microsecond: another one may lag behind it.
    const since = systemClock.now()
    await this.until(
      () => (this.report?.covered ?? 0) >= since && this.report?.upTo === this.last,
      'everything is covered',
    )
  }

  async live(): Promise<void> {
    await this.until(() => this.report?.state === 'live' && this.report.upTo === this.last, 'the baseline is complete')
  }

  async #take(capture: Capture): Promise<void> {
    const outputs = capture.outputs[Symbol.asyncIterator]()
    for (;;) {
      while (this.bulkBatches >= this.bulkMax && !this.#isClosing) await sleep(5)
      if (this.bulkBatches >= this.bulkMax) return
      const { value, done } = await outputs.next()
      if (done === true) return
      this.#keep(value, capture)
      if (this.batchMs > 0 && value.kind === 'batch') await sleep(this.batchMs)
    }
  }

  #keep(output: CaptureOutput, capture: Capture): void {
    switch (output.kind) {
      case 'report':
        this.reports.push(output.report)
        return
      case 'manifest-wanted':
        return assert.fail('a database has no use for a manifest')
      case 'offer':
        this.offered += output.ids.length
        return capture.answer(
          output.tag,
          output.ids.map((id) => !this.chunks.has(id)),
        )
      case 'batch': {
        for (const block of output.blocks) this.#keepChunks(block)
        const { first, cursor, changes, settled } = decodeBatch(output.bytes)
        assert.equal(first, this.last + 1, 'sequences follow each other')
        const bytes = output.bytes.length
        const copied = changes.map(({ change }) => change)
        this.batches.push({
          last: output.last,
          cursor: Buffer.from(cursor),
          changes: copied,
          bulk: output.bulk,
          settled,
          bytes,
        })
        this.marked.push(...output.marks)
        if (this.isAcknowledging) capture.acknowledged?.(output.last)
        return
      }
    }
  }

  #keepChunks(block: Uint8Array): void {
    const { entries, body } = decodeBlock(block)
    for (const { id, at, bytes } of entries) {
      const data = Buffer.from(body.subarray(at, at + bytes))
      assert.equal(createHmac('sha256', chunkKey).update(data).digest('latin1'), id, 'a chunk has its name')
      this.chunks.set(id, data)
      this.sentBytes += bytes
    }
  }
}
