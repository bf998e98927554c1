import { type Batch, lastOf, type Stamped } from '../../src/model/batch.ts'
import type { Change, ChunkId } from '../../src/model/change.ts'
import type { Moment } from '../../src/model/moment.ts'
import { beforeFirst, type Sequence } from '../../src/model/sequence.ts'
import { differences, Tree } from './tree.ts'

/** A promise was broken. The number is that of DESIGN section 3. */
export class Broken extends Error {
  override readonly name = 'Broken'
  readonly promise: 1 | 2 | 3 | 4 | 5 | 6 | 7

  constructor(promise: 1 | 2 | 3 | 4 | 5 | 6 | 7, told: string) {
    super(`promise ${promise}: ${told}`)
    this.promise = promise
  }
}

/** A batch as a capture said it, after another one: a capture that lost some of what it said goes on from an earlier. */
interface Said {
  readonly before: Said | undefined
  readonly batch: Batch
  readonly last: Sequence
  /** What it led to, once somebody has asked for that. */
  tree?: Tree
}

type Chunks = (id: ChunkId) => Uint8Array

function treeAfter(said: Said | undefined, chunks: Chunks): Tree {
  const batches: Batch[] = []
  let one = said
  for (; one !== undefined && one.tree === undefined; one = one.before) batches.push(one.batch)
  const changes = batches.reverse().flatMap((batch) => batch.changes.map(({ change }) => change))
  const tree = (one?.tree ?? Tree.empty).afterAll(changes, chunks)
  if (said !== undefined) said.tree = tree
  return tree
}

/** One line of batches, from the first change on. */
export class Line {
  readonly #name: string
  readonly #said: readonly Said[]
  readonly #changes: readonly Stamped[]
  readonly #chunks: Chunks

  constructor(name: string, said: Said | undefined, chunks: Chunks) {
    this.#name = name
    this.#chunks = chunks
    const all: Said[] = []
    for (let one = said; one !== undefined; one = one.before) all.push(one)
    this.#said = all.reverse()
    this.#changes = this.#said.flatMap(({ batch }) => batch.changes)
  }

  get batches(): readonly Batch[] {
    return this.#said.map(({ batch }) => batch)
  }

  get last(): Sequence {
    return this.#changes.length as Sequence
  }

  treeAt(sequence: Sequence): Tree {
    if (sequence === beforeFirst) return Tree.empty
    this.#at(sequence)
    const said = this.#said.find(({ last }) => last >= sequence)!
    const changes = said.batch.changes.slice(0, sequence - said.batch.first + 1).map(({ change }) => change)
    return sequence === said.last
      ? treeAfter(said, this.#chunks)
      : treeAfter(said.before, this.#chunks).afterAll(changes, this.#chunks)
  }

  momentAt(sequence: Sequence): Moment {
    return this.#at(sequence).moment
  }

  changeAt(sequence: Sequence): Change {
    return this.#at(sequence).change
  }

  /** The last sequence whose moment is not after `moment`; 0 where there is none. */
  lastAtMoment(moment: Moment): Sequence {
    return (this.#changes.findLastIndex((stamped) => stamped.moment <= moment) + 1) as Sequence
  }

  /** `found` is what a vault gives out as the tree after `at`. */
  expectTree(found: Tree, at: Sequence, told: string): void {
    const lines = differences(this.treeAt(at), found)
    if (lines.length === 0) return
    const shown = lines.slice(0, 12).join('\n  ')
    throw new Broken(3, `${this.#name}: ${told}, the tree at ${at} is not what it was:\n  ${shown}`)
  }

  #at(sequence: Sequence): Stamped {
    const stamped = this.#changes[sequence - 1]
    if (stamped === undefined) throw new Broken(1, `${this.#name}: ${sequence} is beyond what was said (${this.last})`)
    return stamped
  }
}

/**
 * The history of one source, kept in memory and away from everything that is tested: every batch its captures said,
 * with the tree after each change, and which of it was ever called durable.
 *
 * A capture that is opened again may say other changes for the same sequences, as long as those before it were never
 * acknowledged. So there are several lines, and a batch is known by its cursor; a vault holds exactly one of them.
 */
export class History {
  readonly name: string
  readonly #chunks = new Map<ChunkId, Buffer>()
  readonly #byCursor = new Map<string, Said>()
  /** The newest batch of the line that the present capture goes on with. */
  #present: Said | undefined
  /** The highest batch the vault ever acknowledged to the agent. */
  #acknowledged: Said | undefined
  /** Holes that captures recorded: moments whose changes were not kept one by one. */
  holes = 0

  /** Chunks whose bytes the agent of this source has sent, alone or inside a change; shared by all its sources. */
  readonly chunksSent: Set<ChunkId>

  constructor(name: string, chunksSent: Set<ChunkId> = new Set()) {
    this.name = name
    this.chunksSent = chunksSent
  }

  /** The last sequence said. */
  get last(): Sequence {
    return this.#present?.last ?? beforeFirst
  }

  get tree(): Tree {
    return treeAfter(this.#present, this.chunk)
  }

  get cursor(): Uint8Array {
    return this.#present?.batch.cursor ?? new Uint8Array()
  }

  get acknowledged(): Sequence {
    return this.#acknowledged?.last ?? beforeFirst
  }

  get acknowledgedCursor(): Uint8Array {
    return this.#acknowledged?.batch.cursor ?? new Uint8Array()
  }

  /** `named` is what the chunk is called elsewhere. */
  keepChunk(id: ChunkId, data: Uint8Array, named = id): void {
    if (named !== id) throw new Broken(3, `${this.name}: a chunk was named for other bytes`)
    if (!this.#chunks.has(id)) this.#chunks.set(id, Buffer.from(data))
  }

  readonly chunk = (id: ChunkId): Buffer => {
    const data = this.#chunks.get(id)
    if (data !== undefined) return data
    throw new Broken(3, `${this.name}: chunk ${Buffer.from(id, 'latin1').toString('hex')} was never made`)
  }

  /** A capture says a batch. */
  say(batch: Batch): void {
    if (batch.first !== this.last + 1)
      throw new Error(`the simulated capture skipped from ${this.last} to ${batch.first}`)
    for (const { change } of batch.changes) if (change.kind === 'mark' && change.mark.type === 'hole') this.holes++
    this.#present = { before: this.#present, batch, last: lastOf(batch) }
    this.#byCursor.set(hex(batch.cursor), this.#present)
  }

  /** The vault has said that the batch with this cursor is durable. */
  acknowledge(cursor: Uint8Array): void {
    const said = this.#byCursor.get(hex(cursor))
    if (said === undefined) throw new Broken(1, `${this.name}: a batch was acknowledged that was never said`)
    if (isAfter(this.#acknowledged, said)) return
    if (!isAfter(said, this.#acknowledged)) {
      throw new Broken(1, `${this.name}: ${said.last} was acknowledged, after ${this.acknowledged} of another line`)
    }
    this.#acknowledged = said
  }

  /** The capture is told that everything up to `sequence` is durable. */
  toldDurable(sequence: Sequence): void {
    let said = this.#present
    while (said !== undefined && said.last > sequence) said = said.before
    if (said?.last === sequence && isAfter(this.#acknowledged, said)) return
    throw new Broken(1, `${this.name}: the capture was told that ${sequence} is durable, and ${this.acknowledged} is`)
  }

  /** A capture is opened after `at`: what came later may be said differently now. */
  resume(at: Sequence, cursor: Uint8Array): void {
    this.#present = this.#endingAt(at, cursor, 'a capture is resumed')
  }

  /** Whether what was said last is what a journal that ends with `cursor` holds. */
  isAllIn(cursor: Uint8Array): boolean {
    return this.#present !== undefined && this.#byCursor.get(hex(cursor)) === this.#present
  }

  /** The line of a journal that ends at `at` with this cursor, which holds all that was ever acknowledged. */
  durableLine(at: Sequence, cursor: Uint8Array): Line {
    const said = this.#endingAt(at, cursor, 'the journal ends')
    if (!isAfter(said, this.#acknowledged)) {
      throw new Broken(1, `${this.name}: the journal ends at ${at}, and ${this.acknowledged} was acknowledged`)
    }
    return new Line(this.name, said, this.chunk)
  }

  /**
   * Takes the batches of a journal as they are read from it, up to `at`; each has to be exactly one that was said, and
   * to follow the one before it. The first may have any place: history before it was dropped.
   */
  async expectJournal(batches: AsyncIterable<Batch>, after: Sequence, at: Sequence): Promise<void> {
    let before: Said | undefined
    let next = after + 1
    for await (const batch of batches) {
      const said = this.#byCursor.get(hex(batch.cursor))
      if (said === undefined)
        throw new Broken(1, `${this.name}: the journal has a batch from ${batch.first} that was never said`)
      if (before === undefined ? batch.first > next || said.last < next : said.before !== before) {
        throw new Broken(
          1,
          `${this.name}: batch ${batch.first} to ${said.last} does not follow ${before?.last ?? after}`,
        )
      }
      if (!isEqual(said.batch, batch)) {
        const [wanted, found] = [plain(said.batch), plain(batch)]
        throw new Broken(1, `${this.name}: a batch in the journal is\n  ${found}\nand was said as\n  ${wanted}`)
      }
      before = said
      next = said.last + 1
    }
    if (next !== at + 1) throw new Broken(1, `${this.name}: reading the journal ended before ${next}, not after ${at}`)
  }

  #endingAt(at: Sequence, cursor: Uint8Array, told: string): Said | undefined {
    if (at === beforeFirst && cursor.length === 0) return undefined
    const said = this.#byCursor.get(hex(cursor))
    if (said?.last === at) return said
    throw new Broken(
      1,
      `${this.name}: ${told} at ${at} with a cursor of ${said === undefined ? 'no batch' : `the batch that ends at ${said.last}`}`,
    )
  }
}

/** Whether `said` is `ancestor`, or was said after it, on its line. */
function isAfter(said: Said | undefined, ancestor: Said | undefined): boolean {
  if (ancestor === undefined) return true
  let one = said
  while (one !== undefined && one.last > ancestor.last) one = one.before
  return one === ancestor
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function isEqual(one: unknown, other: unknown): boolean {
  if (one === other) return true
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false
  if (one instanceof Uint8Array && other instanceof Uint8Array) return Buffer.compare(one, other) === 0
  const names = Object.keys(one).filter((name) => Reflect.get(one, name) !== undefined)
  const otherNames = Object.keys(other).filter((name) => Reflect.get(other, name) !== undefined)
  return (
    names.length === otherNames.length &&
    names.every((name) => isEqual(Reflect.get(one, name), Reflect.get(other, name)))
  )
}

/** The same text for equal values, and no other. */
export const plain = (value: unknown): string =>
  JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return `${item}n`
    if (item instanceof Uint8Array) return Buffer.from(item).toString('hex')
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
    // A Buffer has turned itself into this before it is asked for here.
    if ('type' in item && item.type === 'Buffer' && 'data' in item)
      return Buffer.from(item.data as number[]).toString('hex')
    return Object.fromEntries(Object.entries(item).sort(([one], [other]) => (one < other ? -1 : 1)))
  })
