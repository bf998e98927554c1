import { assert } from '../../../base/assert.ts'
import type { RecordNumber } from '../../../format/volume-log.ts'
import { blockBytes, BlockLayer, type LogAddress, piecesOf } from './block-layer.ts'

/** Bytes of the volume, and where they are. */
export interface Span {
  readonly at: number
  readonly bytes: number
  readonly from: 'backing' | 'zeros' | LogAddress
}

/**
 * What is in the log and not in the backing yet, in three layers that are read from the newest down: written since the last sync of the
 * log began; covered by the sync that is under way; synced. Only the last may be written to the backing, and so a block that never
 * rests gets there too, one sync behind.
 */
export class PendingBlocks {
  #written = new BlockLayer()
  #syncing = new BlockLayer()
  readonly synced = new BlockLayer()
  #syncedUpTo: RecordNumber

  constructor(last: RecordNumber) {
    this.#syncedUpTo = last
  }

  get weight(): number {
    return this.#written.weight + this.#syncing.weight + this.synced.weight
  }

  get isEmpty(): boolean {
    return this.#written.isEmpty && this.#syncing.isEmpty && this.synced.isEmpty
  }

  write(at: number, bytes: number, from: LogAddress): void {
    this.#written.write(at, bytes, from)
  }

  zero(at: number, bytes: number): void {
    this.#written.zero(at, bytes)
  }

  syncBegins(): void {
    assert(this.#syncing.isEmpty, 'one sync of the log at a time')
    ;[this.#written, this.#syncing] = [this.#syncing, this.#written]
  }

  syncEnds(upTo: RecordNumber): void {
    this.synced.absorb(this.#syncing)
    this.#syncing = new BlockLayer()
    this.#syncedUpTo = upTo
  }

  /** What `synced` lacks up to this record is in the backing. */
  get syncedUpTo(): RecordNumber {
    return this.#syncedUpTo
  }

  /** Where the bytes of a range are, ascending, without gaps. */
  spans(at: number, bytes: number): Span[] {
    const layers = [this.#written, this.#syncing, this.synced].filter((layer) => !layer.isEmpty)
    if (layers.length === 0) return [{ at, bytes, from: 'backing' }]
    const spans = new Spans()
    const end = at + bytes
    for (let position = at; position < end;) {
      const block = Math.floor(position / blockBytes)
      const start = position - block * blockBytes
      const until = Math.min(blockBytes, end - block * blockBytes)
      fill(spans, layers, 0, block, start, until)
      position = block * blockBytes + until
    }
    return spans.made
  }
}

/** From `start` to `end` of a block, as the layers from `index` on have it. */
function fill(
  spans: Spans,
  layers: readonly BlockLayer[],
  index: number,
  block: number,
  start: number,
  end: number,
): void {
  if (start >= end) return
  const layer = layers[index]
  if (layer === undefined) return spans.add(block * blockBytes + start, end - start, 'backing')
  const isZero = layer.zeros.has(block)
  const below = (from: number, to: number): void => {
    if (from >= to) return
    if (isZero) spans.add(block * blockBytes + from, to - from, 'zeros')
    else fill(spans, layers, index + 1, block, from, to)
  }
  let position = start
  for (const piece of piecesOf(layer.blocks.get(block))) {
    if (piece.end <= position) continue
    if (piece.start >= end) break
    below(position, piece.start)
    position = Math.max(position, piece.start)
    const until = Math.min(piece.end, end)
    const from = piece.from === undefined ? 'zeros' : piece.from + (position - piece.start)
    spans.add(block * blockBytes + position, until - position, from)
    position = until
  }
  below(position, end)
}

/** Spans that go on where the one before ends become one. */
class Spans {
  readonly made: Span[] = []

  add(at: number, bytes: number, from: Span['from']): void {
    const last = this.made.at(-1)
    const goesOn =
      last !== undefined && (typeof last.from === 'number' ? last.from + last.bytes === from : last.from === from)
    if (goesOn) this.made[this.made.length - 1] = { ...last, bytes: last.bytes + bytes }
    else this.made.push({ at, bytes, from })
  }
}
