import { sequence } from '../../../model/sequence.ts'
import type { Piece } from '../extent-reader.ts'

/** Of two pieces that stand in the journal the one that is read first. */
export interface JournalKey {
  readonly location: number
  readonly at: number
}

/** Pieces that are kept in order at once; while they are gathered there may be twice as many, of 25 bytes each. */
const piecesMax = 2_000_000

/**
 * The first pieces of a content that stand in the journal, in its order. A content is looked through by place: so for each
 * so many pieces all of it is looked through once, and the memory is bounded whatever its size.
 */
export class JournalOrder {
  readonly content: number
  readonly at: number
  readonly bytes: number
  readonly #after: JournalKey
  readonly #max: number
  #columns: Columns
  #count = 0
  /** Nothing behind it is among the first. */
  #limit: JournalKey | undefined
  #order: Uint32Array = new Uint32Array(0)

  /** Of a content of so many bytes at the point `at`. */
  constructor(of: { content: number; at: number; bytes: number }, after: JournalKey, max = piecesMax) {
    this.content = of.content
    this.at = of.at
    this.bytes = of.bytes
    this.#after = after
    this.#max = max
    this.#columns = new Columns(1024)
  }

  add(piece: Piece): void {
    if (!('sequence' in piece.source)) return
    const key = { location: piece.source.sequence, at: piece.at }
    if (!isBefore(this.#after, key) || (this.#limit !== undefined && !isBefore(key, this.#limit))) return
    if (this.#count === 2 * this.#max) this.#dropLast()
    if (this.#count === this.#columns.location.length) this.#columns = this.#columns.grown()
    this.#columns.set(this.#count++, piece)
  }

  /** To be called after the last one was added. */
  finish(): void {
    this.#dropLast()
  }

  /** Pieces behind `after`, at most `countMax`; undefined where that is not known of this part of them. */
  behind(after: JournalKey, countMax: number): Piece[] | undefined {
    if (isBefore(after, this.#after)) return undefined
    let low = 0
    let high = this.#order.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (isBefore(after, this.#columns.key(this.#order[middle] as number))) high = middle
      else low = middle + 1
    }
    if (this.#limit !== undefined && this.#order.length - low < countMax) return undefined
    return Array.from(this.#order.subarray(low, low + countMax), (row) => this.#columns.piece(row))
  }

  #dropLast(): void {
    const columns = this.#columns
    const order = Uint32Array.from({ length: this.#count }, (_, row) => row).sort(
      (a, b) =>
        (columns.location[a] as number) - (columns.location[b] as number) ||
        (columns.at[a] as number) - (columns.at[b] as number),
    )
    const kept = order.subarray(0, this.#max)
    if (kept.length < order.length) this.#limit = columns.key(order[kept.length] as number)
    this.#columns = columns.only(kept)
    this.#count = kept.length
    this.#order = Uint32Array.from({ length: kept.length }, (_, row) => row)
  }
}

const isBefore = (a: JournalKey, b: JournalKey): boolean =>
  a.location < b.location || (a.location === b.location && a.at < b.at)

class Columns {
  readonly location: Float64Array
  readonly at: Float64Array
  readonly skip: Uint32Array
  readonly bytes: Uint32Array
  readonly cut: Uint8Array

  constructor(capacity: number) {
    this.location = new Float64Array(capacity)
    this.at = new Float64Array(capacity)
    this.skip = new Uint32Array(capacity)
    this.bytes = new Uint32Array(capacity)
    this.cut = new Uint8Array(capacity)
  }

  set(row: number, { at, bytes, skip, cut, source }: Piece): void {
    this.location[row] = 'sequence' in source ? source.sequence : 0
    this.at[row] = at
    this.skip[row] = skip
    this.bytes[row] = bytes
    this.cut[row] = cut ? 1 : 0
  }

  key(row: number): JournalKey {
    return { location: this.location[row] as number, at: this.at[row] as number }
  }

  piece(row: number): Piece {
    const at = this.at[row] as number
    const skip = this.skip[row] as number
    const cut = this.cut[row] === 1
    const source = { sequence: sequence(this.location[row] as number), origin: at - skip }
    return { at, bytes: this.bytes[row] as number, skip, cut, isEnd: false, source }
  }

  grown(): Columns {
    const grown = new Columns(this.at.length * 2)
    for (const column of columns) grown[column].set(this[column])
    return grown
  }

  only(rows: Uint32Array): Columns {
    const only = new Columns(Math.max(rows.length, 1))
    for (const column of columns)
      for (const [to, from] of rows.entries()) only[column][to] = this[column][from] as number
    return only
  }
}

const columns = ['location', 'at', 'skip', 'bytes', 'cut'] as const
