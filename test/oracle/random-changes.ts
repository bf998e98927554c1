import { createHash } from 'node:crypto'
import type { Attributes, Change, ChunkId, Content, Extent } from '../../src/model/change.ts'
import type { BinaryString, TreePath } from '../../src/model/path.ts'

/** A generator of numbers that a seed decides (mulberry32). */
export function seeded(seed: number): Chance {
  let state = (seed * 0x9e3779b9) >>> 0
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }
  return {
    below: (end) => Math.floor(fraction() * end),
    of: (values) => values[Math.floor(fraction() * values.length)]!,
  }
}

export interface Chance {
  below(end: number): number
  of<T>(values: readonly T[]): T
}

/** One of them goes on, after another, with a byte that is smaller than '/'. */
const names = ['a', 'b', 'c', '\xff\xfe', 'a e'] as const
const sizes = [0, 1, 7, 64, 150, 400] as const

/** Changes of every kind over few names, so that they meet: many make no sense where they stand, as is their right. */
export class RandomChanges {
  readonly #chance: Chance
  readonly chunks = new Map<ChunkId, Buffer>()

  constructor(chance: Chance) {
    this.#chance = chance
  }

  path(): TreePath {
    const depth = this.#chance.of([1, 1, 2, 2, 2, 3, 4])
    const parts = Array.from({ length: depth }, () => this.#chance.of(names))
    if (this.#chance.below(60) === 0) return '' as TreePath
    return parts.join('/') as TreePath
  }

  next(): Change {
    const path = this.path()
    switch (this.#chance.below(15)) {
      case 0:
      case 1:
      case 2:
        return { kind: 'put', path, attributes: this.#attributes(), content: this.#file() }
      case 3:
      case 4:
        return { kind: 'put', path, attributes: this.#attributes(), content: this.#content() }
      case 5:
        return this.#patch(path)
      case 6:
        return { kind: 'link', path, to: this.path() }
      case 7:
      case 8:
        return { kind: 'rename', path, from: this.path() }
      case 9:
        return { kind: 'remove', path }
      case 10:
        return { kind: 'attributes', path, attributes: this.#attributes() }
      case 11:
      case 12:
        return { kind: 'write', path, at: this.#chance.below(300), data: this.#bytes(this.#chance.of(sizes)) }
      case 13:
        return { kind: 'zero', path, at: this.#chance.below(300), bytes: this.#chance.of(sizes) }
      default:
        if (this.#chance.below(4) === 0)
          return { kind: 'mark', mark: { type: 'user', label: `m${this.#chance.below(9)}` } }
        return { kind: 'truncate', path, bytes: this.#chance.of(sizes) }
    }
  }

  #patch(path: TreePath): Change {
    const bytes = this.#chance.of(sizes)
    const zeros = Array.from({ length: this.#chance.below(3) }, () => ({
      at: this.#chance.below(200),
      bytes: this.#chance.below(90),
    }))
    return { kind: 'patch', path, attributes: this.#attributes(), bytes, extents: this.#extents(bytes), zeros }
  }

  #file(): Content {
    const bytes = this.#chance.of(sizes)
    const whole = bytes > 0 && this.#chance.below(2) === 0
    return { type: 'file', bytes, extents: whole ? [this.#extent(0, bytes)] : this.#extents(bytes) }
  }

  #content(): Content {
    switch (this.#chance.below(8)) {
      case 0:
        return { type: 'symlink', target: `../${this.path()}` as BinaryString }
      case 1:
        return { type: 'fifo' }
      case 2:
        return { type: 'socket' }
      case 3:
        return { type: 'block-device', major: this.#chance.below(300), minor: this.#chance.below(3) }
      default:
        return { type: 'directory' }
    }
  }

  #extents(bytes: number): Extent[] {
    const extents: Extent[] = []
    for (let at = this.#chance.below(40); at < bytes;) {
      const extent = this.#extent(at, Math.min(1 + this.#chance.below(100), bytes - at))
      extents.push(extent)
      at += extent.bytes + this.#chance.of([0, 0, 3, 50])
    }
    return extents
  }

  #extent(at: number, bytes: number): Extent {
    const data = this.#bytes(bytes)
    if (this.#chance.below(2) === 0) return { at, bytes, data }
    const chunk = createHash('sha256').update(data).digest('latin1') as ChunkId
    this.chunks.set(chunk, data)
    return { at, bytes, chunk }
  }

  #attributes(): Attributes {
    const xattrs = this.#chance.below(6) === 0 ? [{ name: 'user.x' as BinaryString, value: this.#bytes(5) }] : []
    return {
      mode: this.#chance.of([0o644, 0o755, 0o4711]),
      uid: this.#chance.below(3),
      gid: 4_000_000_000,
      modifiedNs: 1_700_000_000_000_000_000n + BigInt(this.#chance.below(1_000_000)),
      xattrs,
    }
  }

  #bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => 1 + this.#chance.below(255)))
  }
}
