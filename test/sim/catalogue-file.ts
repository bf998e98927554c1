import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Seeded } from './random.ts'

/** Of a database in WAL mode; the third file of it is made anew from these. */
const suffixes = ['', '-wal'] as const

/**
 * The database of a vault's catalogue, as crashes leave it: a killed process leaves all that was committed, a power cut
 * some earlier state or nothing. Each program gets a copy under a name of its own, because the killed one before it
 * never closes its own.
 */
export class CatalogueFile implements Disposable {
  readonly #random: Seeded
  /** Undefined where the catalogue is kept in memory, and built anew at each opening. */
  readonly #folder: string | undefined
  #count = 0
  #path: string | undefined
  #earlier: string | undefined

  constructor(random: Seeded) {
    this.#random = random
    this.#folder = random.chance(0.3) ? mkdtempSync(join(tmpdir(), 'tidemark-sim-')) : undefined
  }

  /** Where the next program finds what the one before left. */
  next(): string {
    if (this.#folder === undefined) return ':memory:'
    this.#path = this.#copy(this.#path)
    return this.#path
  }

  /** What is committed now may be what a later power cut leaves. */
  remember(): void {
    if (this.#path !== undefined && existsSync(this.#path)) this.#earlier = this.#copy(this.#path)
  }

  cutPower(): void {
    if (this.#random.chance(0.7)) this.#path = this.#random.chance(0.5) ? this.#earlier : undefined
  }

  #copy(from: string | undefined): string {
    const path = join(this.#folder!, String(++this.#count))
    for (const suffix of suffixes) {
      if (from !== undefined && existsSync(from + suffix)) copyFileSync(from + suffix, path + suffix)
    }
    return path
  }

  [Symbol.dispose](): void {
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true })
  }
}
