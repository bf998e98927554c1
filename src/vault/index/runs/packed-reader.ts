import type { Piece } from '../extent-reader.ts'
import { addSeen, paint, pieceOf, type Seen } from './paint.ts'
import type { RunReader, Span, Stretch } from './reader.ts'

/** Where the rows of extents have something at a point, ascending, at most so many. */
export type BeneathOf = (content: number, stretch: Stretch, at: number, countMax: number) => Piece[]

/** What is seen up to `end`, and how far to look next. */
interface Looked {
  readonly seen: readonly Seen[]
  readonly end: number
  readonly width: number
}

const widthFirst = 1024 * 1024
const widthMin = 64 * 1024
const widthMax = 1024 * 1024 * 1024
/** Of one look: bounds its memory. */
const pagesMax = 64
const beneathMax = 16 * 1024
/** Below that the next look may be wider. */
const fewStrokes = 4096

/** What stands in a packed content at a point: its rows of extents, and over them what its runs say. */
export class PackedReader {
  readonly runs: RunReader
  readonly #beneath: BeneathOf

  constructor(runs: RunReader, beneath: BeneathOf) {
    this.runs = runs
    this.#beneath = beneath
  }

  /** The pieces in the range, ascending; less than `countMax` only where there are no more. */
  pieces(content: number, { start, end }: Stretch, at: number, countMax: number): Piece[] {
    const span = { after: this.runs.folded(content, at), upTo: at }
    const seen: Seen[] = []
    let from = start
    for (let width = widthFirst; from < end && seen.length <= countMax;) {
      const looked = this.#look(content, { start: from, end }, span, width, true)
      for (const one of looked.seen) if (one.stroke.piece !== undefined) addSeen(seen, one)
      from = looked.end
      width = looked.width
    }
    // The last one may go on behind the place where looking ended.
    if (from < end) seen.pop()
    return seen.map((one) => pieceOf(one) as Piece)
  }

  /** What a span of changes left in a part of the content that begins at `start`; where the next part begins. */
  left(content: number, { start, end }: Stretch, span: Span, width = widthFirst): Looked {
    return this.#look(content, { start, end }, span, width, false)
  }

  #look(content: number, { start, end }: Stretch, span: Span, widthWanted: number, isWhole: boolean): Looked {
    for (let width = Math.min(widthWanted, end - start); ; width = Math.ceil(width / 4)) {
      const stretch = { start, end: start + width }
      const isLeast = width <= widthMin
      const strokes = this.runs.strokes(content, stretch, span, isLeast ? Infinity : pagesMax)
      if (strokes === undefined) continue
      const beneath = isWhole ? this.#beneath(content, stretch, span.upTo, isLeast ? -1 : beneathMax) : []
      if (beneath.length === beneathMax && !isLeast) continue
      for (const piece of beneath) strokes.push({ at: piece.at, end: piece.at + piece.bytes, since: -1, piece })
      const next = strokes.length < fewStrokes ? Math.min(width * 4, widthMax) : width
      return { seen: paint(strokes, stretch.start, stretch.end), end: stretch.end, width: Math.max(next, widthMin) }
    }
  }
}
