import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Clock } from '../../src/base/clock.ts'
import type { Capture, CapturedBatch, CaptureOutput, CaptureRequest } from '../../src/capture/capture.ts'
import { encodeBatch } from '../../src/format/batch.ts'
import { encodeBlock } from '../../src/format/block.ts'
import { decodeManifest } from '../../src/format/manifest.ts'
import type { Stamped } from '../../src/model/batch.ts'
import type { Change, ChunkId, Extent, SuspectReason } from '../../src/model/change.ts'
import { type Moment, moment } from '../../src/model/moment.ts'
import { advance, type Sequence } from '../../src/model/sequence.ts'
import type { SourceDefinition } from '../../src/model/source.ts'
import { type Life, never } from './clock.ts'
import { Broken, type History } from './oracle.ts'
import type { Seeded } from './random.ts'
import type { Trace } from './trace.ts'
import { differences, Tree, type TreeNode } from './tree.ts'
import { type IntendedExtent, Workload } from './workload.ts'

const pendingMax = 30

/** What an agent protects. It goes on changing whether the agent runs or not. */
export interface ProtectedSource {
  readonly definition: SourceDefinition
  readonly history: History
  /** Its users do something. */
  step(): void
  /** The schedule asks for a comparison. */
  reconcile(): void
  open(request: CaptureRequest, clock: Clock, life: Life): Capture
  /** Whatever the vault's journal lacks of the present state. */
  behind(): string[]
  /** Of its machine. */
  powerCut(): void
}

/** A protected server's files. */
export class SimulatedSource implements ProtectedSource {
  readonly definition: SourceDefinition
  readonly history: History
  readonly #random: Seeded
  readonly #workload: Workload
  readonly #trace: Trace
  readonly #fail: (error: unknown) => void
  real = Tree.empty
  #capture: SimulatedCapture | undefined
  #opened = 0

  constructor(
    definition: SourceDefinition,
    history: History,
    random: Seeded,
    trace: Trace,
    fail: (error: unknown) => void,
  ) {
    this.definition = definition
    this.#fail = fail
    this.history = history
    this.#random = random
    this.#workload = new Workload(random.fork(`workload ${definition.name} ${random.fraction()}`))
    this.#trace = trace
  }

  step(): void {
    for (const change of this.#workload.step(this.real)) {
      this.real = this.real.after(change, this.history.chunk)
      this.#capture?.notice(change)
    }
  }

  reconcile(): void {
    this.#capture?.reconcile()
  }

  /** Files are synced whenever they change. */
  powerCut(): void {}

  open(request: CaptureRequest, clock: Clock, life: Life): SimulatedCapture {
    this.#trace.add(this.definition.name, `capture opened after ${request.resumeAt}`)
    try {
      this.history.resume(request.resumeAt, request.cursor)
    } catch (error) {
      this.#fail(error)
    }
    this.#capture = new SimulatedCapture({
      source: this,
      request,
      clock,
      life,
      random: this.#random.fork(`capture ${this.definition.name} ${++this.#opened}`),
      trace: this.#trace,
      workload: this.#workload,
      fail: this.#fail,
    })
    return this.#capture
  }

  behind(): string[] {
    return differences(this.real, this.history.tree)
  }
}

interface CaptureParts {
  readonly source: SimulatedSource
  readonly request: CaptureRequest
  readonly clock: Clock
  readonly life: Life
  readonly random: Seeded
  readonly trace: Trace
  readonly workload: Workload
  /** Told of a broken promise, also where the caller would take an error of a capture as its own affair. */
  readonly fail: (error: unknown) => void
}

/** What one batch is made of, before it has sequences and moments. */
interface Intent {
  readonly changes: readonly Change[]
  readonly marks: readonly { readonly tag: number; readonly label: string }[]
  readonly bulk: boolean
  readonly settled: boolean
}

/**
 * A capture as src/capture/capture.ts asks for. It notices every change of the source while it runs; when nobody takes
 * its outputs for long it forgets them, says so with a hole, and compares. What was not durable when it dies is gone.
 */
export class SimulatedCapture implements Capture {
  readonly #parts: CaptureParts
  readonly #random: Seeded
  readonly #history: History
  readonly #label: string
  #pending: Change[] = []
  #marks: { tag: number; label: string }[] = []
  #hole: { readonly since: Moment; readonly reason: string } | undefined
  #reconcileFor: SuspectReason | undefined
  #last: Sequence
  #lastMoment: number
  #durable: Sequence
  #lineUp = false
  #disposed = false
  #manifest: { readonly path: string; readonly at: Sequence } | undefined
  readonly #answers = new Map<number, readonly boolean[]>()
  #tag = 0
  /** Something happened since the generator looked last. */
  #woken = false
  #resolve: () => void = () => {}

  constructor(parts: CaptureParts) {
    this.#parts = parts
    this.#random = parts.random
    this.#history = parts.source.history
    this.#label = parts.source.definition.name
    this.#last = parts.request.resumeAt
    this.#durable = parts.request.resumeAt
    this.#lastMoment =
      parts.request.resumeAt === 0 ? 0 : Number(Buffer.from(parts.request.cursor).toString().split(' ')[1])
  }

  notice(change: Change): void {
    if (!this.#parts.life.alive || this.#disposed) return
    if (this.#hole !== undefined) return
    if (this.#pending.length >= pendingMax) {
      this.#hole = { since: this.#now(), reason: 'nobody took the changes' }
      this.#pending = []
      this.#parts.trace.add(this.#label, 'too much to remember: a hole begins')
    } else this.#pending.push(change)
    this.#wake()
  }

  durable(sequence: Sequence): void {
    try {
      if (sequence < this.#durable) {
        throw new Broken(1, `${this.#label}: durable went back from ${this.#durable} to ${sequence}`)
      }
      this.#durable = sequence
      this.#history.toldDurable(sequence)
    } catch (error) {
      this.#parts.fail(error)
    }
  }

  answer(tag: number, missing: readonly boolean[]): void {
    this.#answers.set(tag, missing)
    this.#wake()
  }

  manifest(path: string, at: Sequence): void {
    this.#manifest = { path, at }
    this.#wake()
  }

  line(up: boolean): void {
    this.#lineUp = up
    this.#wake()
  }

  mark(tag: number, label: string): void {
    this.#marks.push({ tag, label })
    this.#wake()
  }

  reconcile(): void {
    this.#reconcileFor ??= 'request'
    this.#wake()
  }

  hole(since: Moment, reason: string): void {
    this.#parts.trace.add(this.#label, `told of a hole since ${since}: ${reason}`)
    this.#hole ??= { since, reason }
    this.#pending = []
    this.#wake()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    this.#wake()
  }

  readonly outputs: AsyncIterable<CaptureOutput> = { [Symbol.asyncIterator]: () => this.#guarded(this.#produce()) }

  /** A killed process asks for nothing and is told nothing. */
  #guarded(inner: AsyncGenerator<CaptureOutput>): AsyncIterator<CaptureOutput> {
    const { life, fail } = this.#parts
    const failed = (error: unknown): never => {
      fail(error)
      throw error
    }
    return {
      next: () => (life.alive ? life.through(inner.next().catch(failed)) : never()),
      return: async () => {
        this.#disposed = true
        this.#wake()
        return { done: true, value: undefined }
      },
    }
  }

  async *#produce(): AsyncGenerator<CaptureOutput> {
    yield this.#report()
    const known = yield* this.#startingTree()
    if (known === undefined) return
    yield* this.#converge(known, this.#last === 0 ? 'baseline' : 'start')
    while (!this.#disposed) {
      if (this.#hole !== undefined) {
        yield* this.#converge(this.#history.tree, 'overflow')
      } else if (this.#reconcileFor !== undefined) {
        yield* this.#converge(this.#history.tree, this.#reconcileFor)
      } else if (this.#pending.length > 0 || this.#marks.length > 0) {
        const count = Math.min(this.#random.skewed(1, 12), this.#pending.length)
        const changes = this.#pending.splice(0, count)
        const marks = this.#pending.length === 0 ? this.#marks.splice(0) : []
        if (changes.length + marks.length === 0) continue
        yield* this.#batch({ changes, marks, bulk: false, settled: this.#isSettled() })
      } else {
        if (this.#random.chance(0.2)) yield this.#report()
        await this.#something()
      }
    }
  }

  /** What the journal's tree is at the place to resume from: remembered, or asked for. */
  async *#startingTree(): AsyncGenerator<CaptureOutput, Tree | undefined> {
    const remembered = this.#history.tree
    if (this.#last === 0 || this.#random.chance(0.4)) return remembered
    yield { kind: 'manifest-wanted', reason: 'the simulated capture has lost its memory' }
    while (this.#manifest === undefined) {
      if (this.#disposed) return undefined
      await this.#something()
    }
    const { path, at } = this.#manifest
    if (at !== this.#last)
      throw new Broken(1, `${this.#label}: asked for the tree at ${this.#last}, got the one at ${at}`)
    let tree = Tree.empty
    for await (const group of decodeManifest([readFileSync(path)])) {
      for (const change of group) tree = tree.after(change, this.#history.chunk)
    }
    expectSameTree(remembered, tree, `${this.#label}: the manifest given to the capture at ${at}`)
    return tree
  }

  /** Bulk batches that lead from `known` to what stands at the source now. */
  async *#converge(known: Tree, reason: SuspectReason): AsyncGenerator<CaptureOutput> {
    yield* this.#whileLineIsDown()
    if (this.#disposed) return
    const hole: Change[] = this.#hole === undefined ? [] : [{ kind: 'mark', mark: { type: 'hole', ...this.#hole } }]
    this.#hole = undefined
    this.#reconcileFor = undefined
    this.#pending = []
    const steps = converging(known, this.#parts.source.real, this.#parts.workload)
    const all: Change[] = [
      ...hole,
      { kind: 'mark', mark: { type: 'suspect', reason } },
      ...steps,
      { kind: 'mark', mark: { type: 'complete', reason } },
    ]
    while (all.length > 0) {
      yield* this.#whileLineIsDown()
      if (this.#disposed) return
      const changes = all.splice(0, this.#random.skewed(1, 15))
      yield* this.#batch({ changes, marks: [], bulk: true, settled: all.length === 0 && this.#isSettled() })
    }
  }

  /** Bulk work waits for the line. */
  async *#whileLineIsDown(): AsyncGenerator<CaptureOutput> {
    while (!this.#lineUp && !this.#disposed) {
      if (this.#random.chance(0.2)) yield this.#report()
      await this.#something()
    }
  }

  #isSettled(): boolean {
    return this.#pending.length === 0 && this.#hole === undefined
  }

  async *#batch(intent: Intent): AsyncGenerator<CaptureOutput> {
    const chunks = new Map<ChunkId, Uint8Array>()
    const told = intent.changes.map((change) => this.#withChunks(change, chunks))
    const marks: Change[] = intent.marks.map(({ label }) => ({ kind: 'mark', mark: { type: 'user', label } }))
    const missing = yield* this.#missing([...chunks.keys()])
    if (this.#disposed) return
    const first = advance(this.#last, 1)
    const changes: Stamped[] = [...told, ...marks].map((change) => ({ moment: this.#nextMoment(), change }))
    const last = advance(this.#last, changes.length)
    const cursor = Buffer.from(`${last} ${this.#lastMoment} ${this.#random.integer(0, 1e9)}`)
    const batch = { first, settled: intent.settled, cursor, changes }
    this.#last = last
    this.#history.say(batch)
    this.#parts.trace.add(
      this.#label,
      `says ${first} to ${last}${intent.bulk ? ', bulk' : ''}: ${changes.map((one) => one.change.kind).join(' ')}`,
    )
    const output: CapturedBatch = {
      kind: 'batch',
      first,
      last,
      moment: changes.at(-1)!.moment,
      blocks: this.#blocks(missing.map((id) => ({ id, data: chunks.get(id)! }))),
      bytes: encodeBatch(batch),
      bulk: intent.bulk,
      marks: intent.marks.map(({ tag }, index) => ({ tag, sequence: advance(last, index + 1 - intent.marks.length) })),
    }
    yield output
  }

  /** The chunks that have to be sent: all of them where nobody can be asked. */
  async *#missing(ids: readonly ChunkId[]): AsyncGenerator<CaptureOutput, readonly ChunkId[]> {
    if (ids.length === 0 || !this.#lineUp || this.#random.chance(0.3)) return ids
    const tag = ++this.#tag
    const { chunksSent } = this.#history
    yield { kind: 'offer', tag, ids }
    for (;;) {
      const answer = this.#answers.get(tag)
      if (answer !== undefined) {
        this.#answers.delete(tag)
        const stranger = ids.find((id, index) => !answer[index] && !chunksSent.has(id))
        if (stranger !== undefined) throw new Broken(5, `${this.#label}: the vault tells of a chunk of another agent`)
        return ids.filter((_, index) => answer[index])
      }
      if (!this.#lineUp || this.#disposed) return ids
      await this.#something()
    }
  }

  #blocks(chunks: { readonly id: ChunkId; readonly data: Uint8Array }[]): Buffer[] {
    const blocks: Buffer[] = []
    for (const { id } of chunks) this.#history.chunksSent.add(id)
    while (chunks.length > 0) blocks.push(encodeBlock(chunks.splice(0, this.#random.integer(1, 6))))
    return blocks
  }

  #withChunks(change: Change, chunks: Map<ChunkId, Uint8Array>): Change {
    const tell = (extents: readonly Extent[]): Extent[] =>
      extents.map((extent) => {
        const { at, bytes, data, asChunk } = extent as IntendedExtent
        if (!asChunk) return { at, bytes, data }
        const id = createHmac('sha256', this.#parts.request.chunkKey).update(data).digest('latin1') as ChunkId
        chunks.set(id, data)
        this.#history.keepChunk(id, data)
        return { at, bytes, chunk: id }
      })
    if (change.kind === 'patch') return { ...change, extents: tell(change.extents) }
    if (change.kind !== 'put' || change.content.type !== 'file') return change
    return { ...change, content: { ...change.content, extents: tell(change.content.extents) } }
  }

  /** Moments never go back within a journal, whatever the machine's clock does. */
  #nextMoment(): Moment {
    this.#lastMoment = Math.max(this.#parts.clock.now(), this.#lastMoment + this.#random.integer(0, 1))
    return moment(this.#lastMoment)
  }

  #now(): Moment {
    return moment(Math.max(this.#parts.clock.now(), this.#lastMoment))
  }

  #report(): CaptureOutput {
    const state = this.#last === 0 ? 'baseline' : 'live'
    const dirty = this.#pending.length
    return {
      kind: 'report',
      report: { state, covered: this.#now(), upTo: this.#last, dirty, watching: 'simulation', problems: [] },
    }
  }

  #wake(): void {
    this.#woken = true
    this.#resolve()
  }

  async #something(): Promise<void> {
    if (!this.#woken) await new Promise<void>((resolve) => (this.#resolve = resolve))
    this.#woken = false
  }
}

function expectSameTree(wanted: Tree, found: Tree, told: string): void {
  const lines = differences(wanted, found)
  if (lines.length > 0)
    throw new Broken(3, `${told} is not the tree that stood there:\n  ${lines.slice(0, 12).join('\n  ')}`)
}

/** Changes that make `known` equal to `real`. */
function converging(known: Tree, real: Tree, workload: Workload): Change[] {
  const changes: Change[] = []
  const numbersKnown = groups(known)
  const numbersReal = groups(real)
  const isSameGroup = (path: Tree['names'] extends ReadonlyMap<infer P, number> ? P : never): boolean =>
    JSON.stringify(numbersKnown.get(path)) === JSON.stringify(numbersReal.get(path))
  for (const path of [...known.paths()].reverse()) {
    if (real.at(path) === undefined) changes.push({ kind: 'remove', path })
  }
  const put = new Set<number>()
  for (const path of real.paths()) {
    const node = real.at(path)!
    const there = known.at(path)
    const [firstName] = numbersReal.get(path)!
    if (there?.type === node.type && isSameGroup(path) && isSame(node, there)) continue
    if (there?.type === 'directory' && node.type === 'directory') {
      changes.push({ kind: 'attributes', path, attributes: node.attributes })
    } else if (node.type === 'file' && firstName !== path) {
      if (!isSameGroup(path) || put.has(real.names.get(path)!)) changes.push({ kind: 'link', path, to: firstName! })
    } else {
      put.add(real.names.get(path)!)
      changes.push({ kind: 'put', path, attributes: node.attributes, content: contentOf(node, workload) })
    }
  }
  return changes
}

function contentOf(node: TreeNode, workload: Workload) {
  if (node.type === 'file') return workload.contentOf(node.data)
  const { attributes: _, ...content } = node
  return content
}

/** For each path, the names of the same file, ascending. */
function groups(tree: Tree): Map<string, readonly ReturnType<Tree['paths']>[number][]> {
  const byNumber = new Map<number, ReturnType<Tree['paths']>>()
  for (const path of tree.paths()) {
    const number = tree.names.get(path)!
    byNumber.set(number, [...(byNumber.get(number) ?? []), path])
  }
  return new Map(tree.paths().map((path) => [path, byNumber.get(tree.names.get(path)!)!]))
}

const isSame = (one: TreeNode, other: TreeNode): boolean => {
  if (one === other) return true
  return one.type === 'file' && other.type === 'file'
    ? one.data.equals(other.data) &&
        JSON.stringify(one.attributes, bigints) === JSON.stringify(other.attributes, bigints)
    : JSON.stringify(one, bigints) === JSON.stringify(other, bigints)
}

const bigints = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value)
