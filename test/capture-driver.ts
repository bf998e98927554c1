import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../src/base/clock.ts'
import { systemRandom } from '../src/base/random.ts'
import type { CaptureOutput } from '../src/capture/capture.ts'
import { Engine } from '../src/capture/files/engine.ts'
import type { EngineRequest } from '../src/capture/files/messages.ts'
import { waitingBytes } from '../src/capture/output-queue.ts'
import { decodeBatch } from '../src/format/batch.ts'
import { decodeBlock } from '../src/format/block.ts'
import { encodeManifest } from '../src/format/manifest.ts'
import type { Change, ChunkId } from '../src/model/change.ts'
import { fromAbsolute } from '../src/model/path.ts'
import type { CaptureReport } from '../src/model/report.ts'
import { beforeFirst, type Sequence } from '../src/model/sequence.ts'
import { defaultPolicy, type Id } from '../src/model/source.ts'
import { describeDirectory, ReferenceTree } from './reference-tree.ts'

const chunkKey = Buffer.alloc(32, 7)

/** Both ends of a journal in one process: an engine, and a consumer that believes only what it is sent. */
export class CaptureDriver {
  tree = this.#emptyTree()
  readonly changes: Change[] = []
  readonly chunks = new Map<ChunkId, Buffer>()
  /** Bytes of chunks that were sent. */
  sentBytes = 0
  batches: { first: Sequence; last: Sequence; settled: boolean; cursor: Buffer; bulk: boolean }[] = []
  reports: CaptureReport[] = []
  offers = 0
  /** Whether offers are answered. */
  isAnswering = true
  manifestsWanted = 0
  marks: { tag: number; sequence: Sequence }[] = []
  last: Sequence = beforeFirst
  cursor: Uint8Array = Buffer.alloc(0)
  readonly top: string
  readonly stateDirectory: string
  readonly #options: Partial<EngineRequest> & { exclude?: readonly string[]; paths?: readonly string[] }
  #engine: Engine | undefined
  #line = true
  #moment = 0

  constructor(
    scratch: string,
    options: Partial<EngineRequest> & { exclude?: readonly string[]; paths?: readonly string[] } = {},
  ) {
    this.top = join(scratch, 'source')
    this.stateDirectory = join(scratch, 'state')
    this.#options = options
    mkdirSync(this.top, { recursive: true })
  }

  get engine(): Engine {
    return (this.#engine ??= this.#open())
  }

  get report(): CaptureReport | undefined {
    return this.reports.at(-1)
  }

  #open(): Engine {
    const { exclude = [], paths = [this.top], ...rest } = this.#options
    const engine = new Engine(
      {
        source: {
          id: '0'.repeat(32) as Id,
          name: 'test',
          kind: 'files',
          agent: '1'.repeat(32) as Id,
          paths,
          exclude,
          policy: defaultPolicy,
          paused: false,
        },
        stateDirectory: this.stateDirectory,
        resumeAt: this.last,
        cursor: this.cursor,
        chunkKey,
        never: [],
        watching: { allowed: ['fanotify', 'inotify', 'scanning'], unlimitedQueue: true },
        ...rest,
      },
      { clock: systemClock, random: systemRandom, hand: (output) => this.#take(output), reportEveryMs: 20 },
    )
    engine.receive({ kind: 'line', up: this.#line })
    return engine
  }

  line(up: boolean): void {
    this.#line = up
    this.engine.receive({ kind: 'line', up })
  }

  /** As when the process is killed: nothing is written any more. The state stays as it is on disk. */
  kill(): void {
    this.#engine = undefined
  }

  /** As when the process is killed and the last batches it handed out were lost with it. */
  killAndLose(batches: number): void {
    this.#engine = undefined
    this.batches = this.batches.slice(0, Math.max(0, this.batches.length - batches))
    this.last = this.batches.at(-1)?.last ?? beforeFirst
    this.cursor = this.batches.at(-1)?.cursor ?? Buffer.alloc(0)
    this.changes.length = this.last
    this.tree = this.#emptyTree()
    for (const change of this.changes) this.tree.apply(change)
    this.#moment = 0
  }

  /** What was handed out up to so many batches ago is durable. */
  durable(behind: number): void {
    const batch = this.batches.at(-1 - behind)
    if (batch !== undefined) this.engine.receive({ kind: 'durable', sequence: batch.last })
  }

  #emptyTree(): ReferenceTree {
    return new ReferenceTree((id) => this.#chunk(id))
  }

  close(): void {
    this.#engine?.[Symbol.dispose]()
    this.#engine = undefined
  }

  /** Lets the engine work until `isDone`, or fails. */
  async until(isDone: () => boolean, what = 'the capture gets there', withinMs = 120_000): Promise<void> {
    const end = performance.now() + withinMs
    for (let isLast = false; !isDone();) {
      assert.ok(!isLast, `within ${withinMs} ms ${what}; ${JSON.stringify(this.report)}`)
      // A last turn comes after the end: the machine may have stood still.
      isLast = performance.now() >= end
      const restMs = await this.engine.turn()
      await sleep(Math.min(restMs, 2))
    }
  }

  /** Until there has been a report that nothing is dirty and that everything up to now is covered. */
  async settle(withinMs = 120_000): Promise<void> {
    await sleep(5)
    // By the clock of the capture, to the microsecond: another one may lag behind it.
    const since = systemClock.now()
    await this.until(
      () => {
        const report = this.report
        return (
          report !== undefined &&
          report.state === 'live' &&
          report.dirty === 0 &&
          report.covered >= since &&
          report.upTo === this.last
        )
      },
      'the capture settles',
      withinMs,
    )
  }

  /** What the tree holds of the top is what this other directory holds. */
  compareWith(copy: string): void {
    assert.deepEqual(this.tree.describe(fromAbsolute(this.top)), describeDirectory(copy))
  }

  /** The journal has gone on without this agent, as when its machine was put back to an earlier state. */
  tellApart(): void {
    this.last = (this.last + 1) as Sequence
    this.changes.push({ kind: 'mark', mark: { type: 'user', label: 'told elsewhere' } })
    this.cursor = Buffer.from(
      JSON.stringify({ version: 1, moment: this.#moment, session: 'elsewhere', baseline: 'complete' }),
    )
  }

  /** What the tree holds is what the directory holds. */
  compare(top = this.top): void {
    assert.deepEqual(this.tree.describe(fromAbsolute(top)), describeDirectory(top))
  }

  async settleAndCompare(): Promise<void> {
    await this.settle()
    this.compare()
  }

  /** Changes that were taken while `work` was done and settled. */
  async changesOf(work: () => void | Promise<void>): Promise<Change[]> {
    const from = this.changes.length
    await work()
    await this.settle()
    return this.changes.slice(from)
  }

  #take(output: CaptureOutput): void {
    switch (output.kind) {
      case 'offer':
        this.offers++
        if (!this.isAnswering) return
        this.engine.receive({ kind: 'answer', tag: output.tag, missing: output.ids.map((id) => !this.chunks.has(id)) })
        return
      case 'report':
        this.reports.push(output.report)
        return
      case 'manifest-wanted':
        this.manifestsWanted++
        void this.#giveManifest()
        return
      case 'batch': {
        for (const block of output.blocks) {
          const { entries, body } = decodeBlock(block)
          for (const { id, at, bytes } of entries) {
            const data = body.subarray(at, at + bytes)
            assert.equal(idOf(data), id, 'a chunk has its name')
            this.chunks.set(id, data)
            this.sentBytes += bytes
          }
        }
        const batch = decodeBatch(output.bytes)
        assert.equal(batch.first, this.last + 1, 'sequences follow each other')
        for (const { moment, change } of batch.changes) {
          assert.ok(moment > this.#moment, 'moments ascend')
          this.#moment = moment
          this.tree.apply(change)
          this.changes.push(change)
        }
        this.last = output.last
        this.cursor = batch.cursor
        this.batches.push({
          first: output.first,
          last: output.last,
          settled: batch.settled,
          cursor: Buffer.from(batch.cursor),
          bulk: output.bulk,
        })
        this.marks.push(...output.marks)
        if (batch.settled) this.onSettled?.()
        this.engine.receive({ kind: 'taken', bulk: output.bulk, bytes: waitingBytes(output) })
        return
      }
    }
  }

  onSettled: (() => void) | undefined

  async #giveManifest(): Promise<void> {
    const keep = (bytes: Buffer): ChunkId => {
      const id = idOf(bytes)
      this.chunks.set(id, bytes)
      return id
    }
    const parts: Buffer[] = []
    for await (const part of encodeManifest(this.tree.manifest(keep))) parts.push(part)
    const path = join(this.stateDirectory, 'manifest')
    writeFileSync(path, Buffer.concat(parts))
    this.engine.receive({ kind: 'manifest', path, at: this.last })
  }

  #chunk(id: ChunkId): Buffer {
    const chunk = this.chunks.get(id)
    assert.ok(chunk, 'a chunk is sent before it is referred to')
    return chunk
  }
}

const idOf = (bytes: Uint8Array): ChunkId => createHmac('sha256', chunkKey).update(bytes).digest('latin1') as ChunkId
