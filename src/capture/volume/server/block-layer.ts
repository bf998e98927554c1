import { RangeSet } from './range-set.ts'

export const blockBytes = 4096

/** Where bytes stand in the log, over all its segments; see `VolumeLog.place`. */
export type LogAddress = number

/** Part of a block: from `start` to `end`, not included; its bytes begin at `from` of the log, or are zeros. */
export interface Piece {
  readonly start: number
  readonly end: number
  readonly from: LogAddress | undefined
}

/** A block as a whole by the address of its bytes, or parts of it: ascending, not overlapping. Never changed, only replaced. */
export type BlockEntry = LogAddress | readonly Piece[]

/**
 * What a stretch of the log made of a volume: the newest version of each byte, and nothing about bytes that it left alone. A write of part
 * of a block is kept as that part, so its neighbours are neither read nor invented. `zeros` are blocks, under the entries: an entry of
 * such a block is newer.
 */
export class BlockLayer {
  readonly blocks = new Map<number, BlockEntry>()
  readonly zeros = new RangeSet()
  /** Parts in entries of several, less one each. */
  #extra = 0

  /** A measure of the memory it takes. */
  get weight(): number {
    return this.blocks.size + this.#extra + this.zeros.size
  }

  get isEmpty(): boolean {
    return this.blocks.size === 0 && this.zeros.size === 0
  }

  write(at: number, bytes: number, from: LogAddress): void {
    const end = at + bytes
    for (let position = at; position < end;) {
      const block = Math.floor(position / blockBytes)
      const start = position - block * blockBytes
      const length = Math.min(blockBytes - start, end - position)
      const source = from + (position - at)
      if (length === blockBytes) this.set(block, source)
      else this.#overlay(block, { start, end: start + length, from: source })
      position += length
    }
  }

  zero(at: number, bytes: number): void {
    const end = at + bytes
    const first = Math.ceil(at / blockBytes)
    const after = Math.floor(end / blockBytes)
    if (first > after) {
      // All within one block.
      this.#overlay(after, { start: at - after * blockBytes, end: end - after * blockBytes, from: undefined })
      return
    }
    if (at < first * blockBytes) {
      this.#overlay(first - 1, { start: at - (first - 1) * blockBytes, end: blockBytes, from: undefined })
    }
    if (end > after * blockBytes) {
      this.#overlay(after, { start: 0, end: end - after * blockBytes, from: undefined })
    }
    this.#zeroBlocks(first, after)
  }

  /** Takes over what happened after its own. */
  absorb(newer: BlockLayer): void {
    for (const { start, end } of newer.zeros.ranges) this.#zeroBlocks(start, end)
    for (const [block, entry] of newer.blocks) {
      if (typeof entry === 'number') this.set(block, entry)
      else for (const piece of entry) this.#overlay(block, piece)
    }
  }

  set(block: number, entry: BlockEntry): void {
    this.#extra += extraOf(entry) - extraOf(this.blocks.get(block))
    this.blocks.set(block, entry)
  }

  delete(block: number): void {
    const entry = this.blocks.get(block)
    if (entry === undefined) return
    this.#extra -= extraOf(entry)
    this.blocks.delete(block)
  }

  /**
   * Forgets what of `entry` is still in the block, because it is elsewhere now. Where newer parts came over it these stay alone: the
   * log may let go of the older ones' bytes.
   */
  forget(block: number, entry: BlockEntry): void {
    const present = this.blocks.get(block)
    if (present === entry) return this.delete(block)
    if (present === undefined) return
    const gone = piecesOf(entry)
    const left = piecesOf(present).filter((piece) => !gone.some((other) => isWithin(piece, other)))
    if (left.length === 0) this.delete(block)
    else this.set(block, left)
  }

  #zeroBlocks(start: number, end: number): void {
    if (end - start < this.blocks.size) {
      for (let block = start; block < end; block++) this.delete(block)
    } else {
      for (const block of this.blocks.keys()) if (block >= start && block < end) this.delete(block)
    }
    this.zeros.add(start, end)
  }

  #overlay(block: number, piece: Piece): void {
    const pieces: Piece[] = []
    let isPlaced = false
    for (const old of piecesOf(this.blocks.get(block))) {
      if (old.start < piece.start) pieces.push({ ...old, end: Math.min(old.end, piece.start) })
      if (!isPlaced && old.end > piece.start) {
        pieces.push(piece)
        isPlaced = true
      }
      if (old.end > piece.end) {
        const start = Math.max(old.start, piece.end)
        pieces.push({ start, end: old.end, from: old.from === undefined ? undefined : old.from + (start - old.start) })
      }
    }
    if (!isPlaced) pieces.push(piece)
    this.set(block, pieces)
  }
}

export const piecesOf = (entry: BlockEntry | undefined): readonly Piece[] =>
  entry === undefined ? [] : typeof entry === 'number' ? [{ start: 0, end: blockBytes, from: entry }] : entry

/** Whether the bytes of one are those that the other has there. */
function isWithin(piece: Piece, other: Piece): boolean {
  if (piece.start < other.start || piece.end > other.end) return false
  if (piece.from === undefined || other.from === undefined) return piece.from === other.from
  return piece.from - piece.start === other.from - other.start
}

const extraOf = (entry: BlockEntry | undefined): number => (typeof entry === 'object' ? entry.length - 1 : 0)
