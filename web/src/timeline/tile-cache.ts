import type { Instant } from './instant.ts'
import type { Scale } from './scale.ts'
import {
  childrenOf,
  columnsOfTile,
  parentOf,
  tileFrom,
  tileLength,
  type TilePlace,
  tilesWanted,
  tileUntil,
} from './tiles.ts'

/** What tiles are fetched for: one source. */
export interface TileTrack {
  readonly key: string
  /** Nothing is asked for before it, where there is nothing. */
  readonly earliest: Instant | undefined
  /** Of the newest change that can be shown; a tile is asked for again when this has moved on and it could have more. */
  readonly latest: Instant | undefined
}

export interface TileParts<T> {
  load(track: TileTrack, place: TilePlace, signal: AbortSignal): Promise<T>
  /** Milliseconds, never going back. */
  now(): number
  /** Something else may be drawn now. */
  changed(): void
}

interface Held<T> {
  readonly value: T
  /** Up to where it is complete. */
  readonly known: Instant
  readonly loadedMs: number
}

interface Load {
  readonly abort: AbortController
}

/** A tile takes 1 to 20 kB. */
const tilesMax = 1500
const loadsMax = 4
const refreshMs = 1000
const retryMs = 5000
const failuresMax = 500

/**
 * Tiles of all tracks, the least recently drawn of which are forgotten. `want` says what is seen; what is fetched follows from that:
 * what is seen first, then what may be next; what has been passed by is cancelled.
 */
export class TileCache<T> implements Disposable {
  readonly #parts: TileParts<T>
  /** In the order of their use, the latest last. */
  readonly #held = new Map<string, Held<T>>()
  readonly #loads = new Map<string, Load>()
  /** When it failed, in milliseconds. */
  readonly #failed = new Map<string, number>()
  #wanted: readonly { readonly track: TileTrack; readonly place: TilePlace }[] = []

  constructor(parts: TileParts<T>) {
    this.#parts = parts
  }

  get isLoading(): boolean {
    return this.#loads.size > 0
  }

  /** True where what is seen could not be had. */
  get hasFailed(): boolean {
    return this.#failed.size > 0
  }

  want(tracks: readonly TileTrack[], scale: Scale): void {
    const { seen, next } = tilesWanted(scale)
    const all = [...seen, ...next]
    // Tile by tile over all tracks: the neighbours of one track are no better than what is seen of another.
    const wanted = all.flatMap((place) =>
      tracks.filter((track) => hasAny(track, place)).map((track) => ({ track, place })),
    )
    this.#wanted = wanted
    const keys = new Set(wanted.map(({ track, place }) => keyOf(track, place)))
    for (const [key, { abort }] of this.#loads) if (!keys.has(key)) abort.abort()
    this.#begin()
  }

  /** The tile itself, as it was loaded last. */
  get(track: TileTrack, place: TilePlace): T | undefined {
    const key = keyOf(track, place)
    const held = this.#held.get(key)
    if (held === undefined) return undefined
    this.#held.delete(key)
    this.#held.set(key, held)
    return held.value
  }

  /** What may stand for a tile until it is here: the two of the next finer level, or the nearest coarser one. */
  standIns(track: TileTrack, place: TilePlace): { readonly place: TilePlace; readonly value: T }[] {
    const finer = childrenOf(place).flatMap((child) => {
      const value = this.get(track, child)
      return value === undefined ? [] : [{ place: child, value }]
    })
    if (finer.length === 2) return finer
    let coarser = place
    for (let step = 0; step < coarserStepsMax; step++) {
      coarser = parentOf(coarser)
      const value = this.get(track, coarser)
      if (value !== undefined) return [{ place: coarser, value }]
    }
    return finer
  }

  [Symbol.dispose](): void {
    this.#wanted = []
    for (const { abort } of this.#loads.values()) abort.abort()
  }

  #begin(): void {
    for (const { track, place } of this.#wanted) {
      if (this.#loads.size >= loadsMax) return
      if (this.#isNeeded(track, place)) void this.#load(track, place)
    }
  }

  #isNeeded(track: TileTrack, place: TilePlace): boolean {
    const key = keyOf(track, place)
    if (this.#loads.has(key)) return false
    const now = this.#parts.now()
    const failed = this.#failed.get(key)
    if (failed !== undefined && now - failed < retryMs) return false
    const held = this.#held.get(key)
    if (held === undefined) return true
    // Its end was not yet there. What would add less than half a column can wait.
    const lacks = Math.min(track.latest ?? 0, tileUntil(place)) - held.known
    const wait = Math.max(refreshMs, tileLength(place.level) / columnsOfTile / 2 / 1000)
    return lacks > 0 && now - held.loadedMs >= wait
  }

  async #load(track: TileTrack, place: TilePlace): Promise<void> {
    const key = keyOf(track, place)
    const abort = new AbortController()
    this.#loads.set(key, { abort })
    try {
      const value = await this.#parts.load(track, place, abort.signal)
      if (abort.signal.aborted) return
      this.#failed.delete(key)
      this.#held.delete(key)
      this.#held.set(key, { value, known: Math.min(track.latest ?? 0, tileUntil(place)), loadedMs: this.#parts.now() })
      for (const oldest of this.#held.keys()) {
        if (this.#held.size <= tilesMax) break
        this.#held.delete(oldest)
      }
    } catch {
      // Cancelled, or not to be had now: it is shown as not known, and asked for again later.
      if (!abort.signal.aborted) this.#fail(key)
    } finally {
      this.#loads.delete(key)
      this.#parts.changed()
      this.#begin()
    }
  }

  #fail(key: string): void {
    if (this.#failed.size >= failuresMax) this.#failed.clear()
    this.#failed.set(key, this.#parts.now())
  }
}

const coarserStepsMax = 12

const keyOf = ({ key }: TileTrack, { level, index }: TilePlace): string => `${key} ${level} ${index}`

const hasAny = ({ earliest, latest }: TileTrack, place: TilePlace): boolean =>
  earliest !== undefined && latest !== undefined && tileUntil(place) > earliest && tileFrom(place) <= latest
