import { SpareBuffers } from './spare-buffers.ts'

/** Each connection may hold so much whatever the others do, so that one whose client reads nothing keeps nobody from small requests. */
export const ownBytesMax = 1024 * 1024
/** What all connections of one server may hold beyond that, together. More than the largest request. */
export const sharedBytesMax = 128 * 1024 * 1024

/** A connection: data of its writes and reads that are unanswered or unsent. */
export interface Holder {
  readonly heldBytes: number
  /** There may be room for what it was refused. */
  goOn(): void
}

/**
 * The memory that the connections of one server hold together. Who finds no room is not read from until there is some, in the order of
 * asking: a large request is not overtaken for ever by smaller ones.
 */
export class HeldMemory {
  readonly spare = new SpareBuffers()
  readonly #holders = new Set<Holder>()
  readonly #waiting = new Set<Holder>()
  #isWaking = false

  join(holder: Holder): void {
    this.#holders.add(holder)
  }

  /** It holds nothing any more. */
  leave(holder: Holder): void {
    this.#holders.delete(holder)
    this.asksNoMore(holder)
  }

  asksNoMore(holder: Holder): void {
    this.took(holder)
    this.freed()
  }

  /** It has what it waited for, if it did: its place in the line is free. */
  took(holder: Holder): void {
    this.#waiting.delete(holder)
  }

  /** Where it may not, it is told by `goOn` when it should ask again. */
  mayHold(holder: Holder, bytes: number): boolean {
    const own = holder.heldBytes + bytes
    if (own <= ownBytesMax || this.#hasRoom(holder, own)) return true
    this.#waiting.add(holder)
    return false
  }

  #hasRoom(holder: Holder, own: number): boolean {
    const [first] = this.#waiting
    if (first !== undefined && first !== holder) return false
    let shared = own - ownBytesMax
    for (const other of this.#holders) if (other !== holder) shared += Math.max(0, other.heldBytes - ownBytesMax)
    return shared <= sharedBytesMax
  }

  /** Some of it may be held no more. */
  freed(): void {
    if (this.#isWaking) return
    this.#isWaking = true
    try {
      for (let [first] = this.#waiting; first !== undefined;) {
        first.goOn()
        const [next] = this.#waiting
        if (next === first) return
        first = next
      }
    } finally {
      this.#isWaking = false
    }
  }
}
