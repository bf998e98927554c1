import type { Batch, Stamped } from '../../src/model/batch.ts'
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

/** One change as the simulated capture said it, and the tree it led to. */
interface Told {
  readonly stamped: Stamped
  readonly tree: Tree
  /** Of the batch it came in. */
  readonly first: Sequence
  readonly last: Sequence
  readonly cursor: Uint8Array
  readonly settled: boolean
}

/**
 * The history of one source, kept in memory and away from everything that is tested: every change its captures said,
 * with the tree after each, and how much of it was ever called durable.
 */
export class History {
  readonly name: string
  readonly #told: Told[] = []
  readonly #chunks = new Map<ChunkId, Buffer>()
  /** The highest sequence the vault ever acknowledged to the agent. */
  acknowledged: Sequence = beforeFirst
  /** Holes that a capture recorded: moments whose changes were not kept one by one. */
  holes = 0

  constructor(name: string) {
    this.name = name
  }

  get last(): Sequence {
    return this.#told.length as Sequence
  }

  get chunkCount(): number {
    return this.#chunks.size
  }

  keepChunk(id: ChunkId, data: Uint8Array): void {
    if (!this.#chunks.has(id)) this.#chunks.set(id, Buffer.from(data))
  }

  readonly chunk = (id: ChunkId): Buffer => {
    const data = this.#chunks.get(id)
    if (data === undefined)
      throw new Error(`the simulated source never made chunk ${Buffer.from(id, 'latin1').toString('hex')}`)
    return data
  }

  /** A capture says a batch. */
  say(batch: Batch): void {
    if (batch.first !== this.last + 1)
      throw new Error(`the simulated capture skipped from ${this.last} to ${batch.first}`)
    const last = (batch.first + batch.changes.length - 1) as Sequence
    const { first, cursor, settled } = batch
    let tree = this.treeAt(this.last)
    for (const stamped of batch.changes) {
      tree = tree.after(stamped.change, this.chunk)
      this.#told.push({ stamped, tree, first, last, cursor, settled })
      if (stamped.change.kind === 'mark' && stamped.change.mark.type === 'hole') this.holes++
    }
  }

  acknowledge(sequence: Sequence): void {
    if (sequence > this.last) {
      throw new Broken(1, `${this.name}: ${sequence} was acknowledged, and only ${this.last} ever said`)
    }
    if (sequence > this.acknowledged) this.acknowledged = sequence
  }

  /** A capture is opened after `at`: what came later and was never acknowledged may be said differently now. */
  resume(at: Sequence, cursor: Uint8Array): void {
    if (at < this.acknowledged) {
      throw new Broken(1, `${this.name}: resumed after ${at} although ${this.acknowledged} was acknowledged`)
    }
    if (at > this.last) throw new Broken(1, `${this.name}: resumed after ${at}, and only ${this.last} was ever said`)
    const known = at === beforeFirst ? undefined : this.#told[at - 1]
    if (known !== undefined && known.last !== at) {
      throw new Broken(1, `${this.name}: resumed after ${at}, inside the batch ${known.first} to ${known.last}`)
    }
    if (!Buffer.from(known?.cursor ?? []).equals(cursor)) {
      throw new Broken(1, `${this.name}: resumed after ${at} with the cursor of another place`)
    }
    this.#told.length = at
  }

  treeAt(sequence: Sequence): Tree {
    return sequence === beforeFirst ? Tree.empty : this.#at(sequence).tree
  }

  momentAt(sequence: Sequence): Moment {
    return this.#at(sequence).stamped.moment
  }

  changeAt(sequence: Sequence): Change {
    return this.#at(sequence).stamped.change
  }

  cursorAt(sequence: Sequence): Uint8Array {
    return sequence === beforeFirst ? new Uint8Array() : this.#at(sequence).cursor
  }

  /** The last sequence whose moment is not after `moment`. */
  lastAtMoment(moment: Moment, upTo: Sequence): Sequence {
    let found: number = upTo
    while (found > 0 && this.#at(found as Sequence).stamped.moment > moment) found--
    return found as Sequence
  }

  /** `found` is what a vault gives out as the tree after `at`. */
  expectTree(found: Tree, at: Sequence, told: string): void {
    const lines = differences(this.treeAt(at), found)
    if (lines.length === 0) return
    throw new Broken(
      3,
      `${this.name}: ${told}, the tree at ${at} is not what it was:\n  ${lines.slice(0, 12).join('\n  ')}`,
    )
  }

  /** A batch as the vault reads it from its journal is exactly a batch that was said. */
  expectBatch(found: Batch): void {
    const told = this.#told[found.first - 1]
    const last = found.first + found.changes.length - 1
    if (told === undefined || told.first !== found.first || told.last !== last) {
      const said = told === undefined ? 'nothing' : `${told.first} to ${told.last}`
      throw new Broken(1, `${this.name}: the journal has a batch ${found.first} to ${last}, where ${said} was said`)
    }
    if (!Buffer.from(found.cursor).equals(told.cursor)) {
      throw new Broken(1, `${this.name}: the journal's cursor at ${last} is of another batch`)
    }
    found.changes.forEach((stamped, index) => {
      const at = found.first - 1 + index
      const [wanted, got] = [plain(this.#told[at]!.stamped), plain(stamped)]
      if (wanted !== got) {
        throw new Broken(1, `${this.name}: change ${at + 1} in the journal is\n  ${got}\nand was said as\n  ${wanted}`)
      }
    })
  }

  #at(sequence: Sequence): Told {
    const told = this.#told[sequence - 1]
    if (told === undefined) throw new Broken(1, `${this.name}: ${sequence} is beyond what was ever said (${this.last})`)
    return told
  }
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
