import type { Piece } from '../extent-reader.ts'

/** Something that was written: over all that is older, under all that is newer. */
export interface Stroke {
  readonly at: number
  readonly end: number
  readonly since: number
  /** All of it; undefined is zeros. */
  readonly piece: Piece | undefined
}

/** A part of a stroke that nothing lies over. */
export interface Seen {
  readonly stroke: Stroke
  readonly from: number
  readonly to: number
}

/** What is seen of the strokes from `start` up to `end`, ascending. Those of one change do not overlap, but for zeros: they lie over the rest of it. */
export function paint(strokes: readonly Stroke[], start: number, end: number): Seen[] {
  const ascending = strokes.toSorted((a, b) => a.at - b.at)
  const open = new Newest()
  const seen: Seen[] = []
  let next = 0
  for (let at = start; at < end;) {
    for (let stroke = ascending[next]; stroke !== undefined && stroke.at <= at; stroke = ascending[++next])
      if (stroke.end > at) open.add(stroke)
    const stroke = open.reaching(at)
    const limit = Math.min(ascending[next]?.at ?? end, end)
    const to = stroke === undefined ? limit : Math.min(stroke.end, limit)
    if (stroke !== undefined) addSeen(seen, { stroke, from: at, to })
    at = to
  }
  return seen
}

/** What is seen of one stroke on both sides of a place where looking was interrupted is one. */
export function addSeen(all: Seen[], one: Seen): void {
  const last = all.at(-1)
  if (last !== undefined && last.to === one.from && isSame(last.stroke, one.stroke)) {
    all[all.length - 1] = { ...last, to: one.to }
  } else all.push(one)
}

const isSame = (a: Stroke, b: Stroke): boolean =>
  a === b ||
  (a.at === b.at && a.end === b.end && a.since === b.since && (a.piece === undefined) === (b.piece === undefined))

/** The piece of what is seen; undefined where it is zeros. */
export function pieceOf({ stroke, from, to }: Seen): Piece | undefined {
  const { piece } = stroke
  if (piece === undefined || (from === stroke.at && to === stroke.end)) return piece
  return {
    at: from,
    bytes: to - from,
    skip: piece.skip + from - piece.at,
    cut: true,
    isEnd: to === stroke.end && (piece.isEnd || !piece.cut),
    source: piece.source,
  }
}

/** A heap of strokes with the newest at its top. */
class Newest {
  readonly #heap: Stroke[] = []

  add(stroke: Stroke): void {
    const heap = this.#heap
    let place = heap.length
    for (; place > 0; place = (place - 1) >> 1) {
      const above = heap[(place - 1) >> 1] as Stroke
      if (!isOver(stroke, above)) break
      heap[place] = above
    }
    heap[place] = stroke
  }

  /** The newest that reaches beyond `at`; all that end before and lie over it are dropped. */
  reaching(at: number): Stroke | undefined {
    while (this.#heap.length > 0 && (this.#heap[0] as Stroke).end <= at) this.#dropTop()
    return this.#heap[0]
  }

  #dropTop(): void {
    const heap = this.#heap
    const last = heap.pop() as Stroke
    if (heap.length === 0) return
    let place = 0
    for (;;) {
      let below = 2 * place + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && isOver(heap[below + 1] as Stroke, heap[below] as Stroke)) below++
      if (!isOver(heap[below] as Stroke, last)) break
      heap[place] = heap[below] as Stroke
      place = below
    }
    heap[place] = last
  }
}

const isOver = (a: Stroke, b: Stroke): boolean =>
  a.since > b.since || (a.since === b.since && a.piece === undefined && b.piece !== undefined)
