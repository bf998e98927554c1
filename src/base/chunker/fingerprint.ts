import { ScanMemory } from './scan-memory.ts'

/**
 * A 64-bit fingerprint of a block, to find the changed blocks of a large file at memory speed: XXH64 as published
 * (github.com/Cyan4973/xxHash, doc/xxhash_spec.md) with a seed. A changed block keeps its fingerprint by chance once in
 * 2^64. It is no cryptographic hash: who knows the seed can make two blocks alike, so draw one per file or agent, keep
 * it, and never name stored content by a fingerprint.
 */
export class Fingerprinter {
  readonly #memory: ScanMemory
  readonly #seed: bigint

  /** A chunker's memory serves both. */
  constructor(seed: bigint, memory: ScanMemory) {
    this.#seed = BigInt.asUintN(64, seed)
    this.#memory = memory
  }

  /** What `of` looks at: read blocks straight into it. */
  get memory(): Uint8Array<ArrayBuffer> {
    return this.#memory.bytes
  }

  /** Of the bytes `start` to `end`, `end` not included, of `memory`; 0 to 2^64 - 1. */
  of(start: number, end: number): bigint {
    return BigInt.asUintN(64, this.#memory.fingerprint(start, end, this.#seed))
  }
}
