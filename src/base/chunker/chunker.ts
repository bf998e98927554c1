import { ScanMemory } from './scan-memory.ts'

/**
 * Content-defined chunking: FastCDC with normalised chunk sizes and a 64-bit gear hash. Cut points decide what
 * deduplicates, between agents and for ever: nothing here may change, only another algorithm be added beside it.
 *
 * Gear table: 256 numbers of 64 bits, the first 256 outputs of SplitMix64 from the state 0x746964656d61726b ("tidemark").
 * Hash of a byte's position: from 0, for each of the last 64 bytes in turn, hash = 2 · hash + gear[byte] mod 2^64. (Older
 * bytes have left the 64 bits, so going on from the chunk's start would give the same.)
 *
 * With bits = log2(average), a chunk ends at the first length L, in bytes, where
 *   L = max, or
 *   average ≤ L < max and the top (bits - 2) bits of the hash after its last byte are 0, or
 *   min ≤ L < average and the top (bits + 2) bits of it are 0, or
 *   the content ends.
 * The top bits, because each depends on all 64 bytes; the low ones on the last few only.
 * Equal bytes in a row make chunks of max, whatever the byte, from an average of 8 KiB up.
 */
export interface ChunkSizes {
  /** At least 64 bytes, the reach of the hash. */
  min: number
  /** A power of two, at least 256. */
  average: number
  max: number
}

const reachBytes = 64
const averageMin = 256
const normalisationBits = 2

/** Memory for this many of the largest chunks: the tail moved to the front at each refill is then a quarter at most. */
const chunksInMemory = 4

export class Chunker {
  readonly sizes: ChunkSizes
  readonly #memory: ScanMemory
  readonly #strictBits: bigint
  readonly #looseBits: bigint

  constructor(sizes: ChunkSizes, memory: ScanMemory = new ScanMemory(chunksInMemory * sizes.max)) {
    checkSizes(sizes)
    if (memory.bytes.length < sizes.max)
      throw new RangeError(`memory of ${memory.bytes.length} bytes holds no largest chunk`)
    this.sizes = sizes
    this.#memory = memory
    const bits = Math.log2(sizes.average)
    this.#strictBits = BigInt(bits + normalisationBits)
    this.#looseBits = BigInt(bits - normalisationBits)
  }

  /** What `cut` looks at: read bytes straight into it. */
  get memory(): Uint8Array<ArrayBuffer> {
    return this.#memory.bytes
  }

  /**
   * End of the chunk that starts at `start`, given the content up to `end`; `final` says that it ends there. -1: more
   * content is needed, which cannot be while there are `sizes.max` bytes. Depends on nothing but the content from `start`.
   */
  cut(start: number, end: number, final: boolean): number {
    const { min, average, max } = this.sizes
    if (!final && end - start < max) return -1
    return this.#memory.cut(start, end, min, average, max, this.#strictBits, this.#looseBits)
  }

  /**
   * The chunks of what `read` gives until it gives nothing. `read` fills as much of `into` as it likes and returns how
   * much. A chunk is a view of `memory`, valid until the next one is asked for.
   */
  *chunks(read: (into: Uint8Array<ArrayBuffer>) => number): Generator<Uint8Array<ArrayBuffer>, void, void> {
    let start = 0
    let end = 0
    let final = false
    for (;;) {
      const next = this.cut(start, end, final)
      if (next === -1) {
        if (end === this.memory.length) {
          this.memory.copyWithin(0, start, end)
          end -= start
          start = 0
        }
        const bytes = read(this.memory.subarray(end))
        end += bytes
        final = bytes === 0
      } else {
        if (next > start) yield this.memory.subarray(start, next)
        start = next
        if (final && start === end) return
      }
    }
  }
}

function checkSizes({ min, average, max }: ChunkSizes): void {
  const fits = Number.isInteger(min) && Number.isInteger(max) && reachBytes <= min && min < average && average < max
  if (!fits || average < averageMin || !Number.isInteger(Math.log2(average))) {
    throw new RangeError(
      `chunk sizes ${min}, ${average}, ${max}: need ${reachBytes} ≤ min < average < max, average a power of two`,
    )
  }
}
