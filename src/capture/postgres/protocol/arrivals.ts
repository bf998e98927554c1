import { assert } from '../../../base/assert.ts'
import { readBytesMax } from './socket.ts'

/** What is taken: bytes that arrived one after another, or something that stands between them. */
export type Arrival<Event> =
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'event'; readonly event: Event }

/** A stretch of a block that has not been taken, or an event. */
type Entry<Event> = { kind: 'bytes'; block: Buffer; start: number; end: number } | { kind: 'event'; event: Event }

/**
 * Keeps what a connection's reads bring until the consumer takes it, in its order: bytes are copied once, into two reused
 * blocks, and those of many reads come out as one piece. So a consumer that syncs what it takes gets everything that came
 * meanwhile with one `take`.
 *
 * When both blocks are full, `pause` is called, and `resume` when the consumer has given one back. Invariant: at the start of
 * a read the block being filled has room for all of it (`readBytesMax`), or reading is paused.
 */
export class Arrivals<Event> {
  readonly #flow: { readonly pause: () => void; readonly resume: () => void }
  readonly #free: Buffer[]
  readonly #entries: Entry<Event>[] = []
  #filling: Buffer
  #filled = 0
  #isPaused = false
  /** The block that the bytes last taken are of, when nothing else of it is left to take. */
  #lent: Buffer | undefined
  #end: { readonly error?: unknown } | undefined
  #wake: (() => void) | undefined

  constructor(blockBytes: number, flow: { readonly pause: () => void; readonly resume: () => void }) {
    assert(blockBytes >= 2 * readBytesMax, 'a block has room for two reads')
    this.#flow = flow
    this.#filling = Buffer.allocUnsafeSlow(blockBytes)
    this.#free = [Buffer.allocUnsafeSlow(blockBytes)]
  }

  bytes(source: Buffer, start: number, end: number): void {
    if (this.#end !== undefined) return
    const length = end - start
    assert(length <= this.#filling.length - this.#filled, 'what a read brings has room')
    source.copy(this.#filling, this.#filled, start, end)
    const last = this.#entries.at(-1)
    if (last?.kind === 'bytes' && last.block === this.#filling && last.end === this.#filled) last.end += length
    else this.#entries.push({ kind: 'bytes', block: this.#filling, start: this.#filled, end: this.#filled + length })
    this.#filled += length
    this.#makeRoom()
    this.#wakeUp()
  }

  event(event: Event): void {
    if (this.#end !== undefined) return
    this.#entries.push({ kind: 'event', event })
    this.#wakeUp()
  }

  /** Nothing more comes. What came before is still to be had, then the error, if there is one. */
  end(end: { readonly error?: unknown } = {}): void {
    this.#end ??= end
    this.#wakeUp()
  }

  /** The bytes hold until the next call. Undefined after the end; rejects with its error. One call at a time. */
  async take(): Promise<Arrival<Event> | undefined> {
    this.#giveBack()
    while (this.#entries.length === 0 && this.#end === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const entry = this.#entries.shift()
    if (entry === undefined) {
      if (this.#end !== undefined && 'error' in this.#end) throw this.#end.error
      return undefined
    }
    if (entry.kind === 'event') return entry
    const { block, start, end } = entry
    if (block === this.#filling) {
      // The consumer gets this block, the reads go on in the other one, if it is free.
      this.#rotate()
    }
    if (block !== this.#filling && !this.#entries.some((other) => other.kind === 'bytes' && other.block === block)) {
      this.#lent = block
    }
    return { kind: 'bytes', bytes: block.subarray(start, end) }
  }

  #giveBack(): void {
    if (this.#lent === undefined) return
    this.#free.push(this.#lent)
    this.#lent = undefined
    if (!this.#isPaused) return
    this.#isPaused = !this.#rotate()
    if (!this.#isPaused) this.#flow.resume()
  }

  #makeRoom(): void {
    if (this.#isPaused || this.#filling.length - this.#filled >= readBytesMax || this.#rotate()) return
    this.#isPaused = true
    this.#flow.pause()
  }

  #rotate(): boolean {
    const next = this.#free.pop()
    if (next === undefined) return false
    this.#filling = next
    this.#filled = 0
    return true
  }

  #wakeUp(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}
