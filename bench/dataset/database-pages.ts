import { createCipheriv } from 'node:crypto'
import type { Chance } from './chance.ts'

export const pageBytes = 8192

const rowBytes = 124
const headerBytes = 24
const rowsPerPage = Math.floor((pageBytes - headerBytes) / (rowBytes + 4))

/**
 * Pages laid out as those of a PostgreSQL table: header, line pointers growing up, rows with ascending keys growing
 * down. A row holds a key, some numbers, a token and text of few words, and is padded: about three to one under zstd.
 */
export class DatabasePages {
  readonly #random: Buffer
  readonly #words: readonly Buffer[]
  #at = 0

  constructor(chance: Chance) {
    this.#random = randomLooking(chance.below(0x7fff_ffff), 4 * 1024 * 1024 + 3)
    this.#words = [
      'open',
      'closed',
      'shipped',
      'waiting',
      'returned',
      'paid by card',
      'paid in cash',
      'to be called back',
    ].map((text) => Buffer.from(text.padEnd(18)))
  }

  /** Page `number` of the table as transaction `transaction` left it, written at `at`. */
  write(into: Buffer, at: number, number: number, transaction: number): void {
    const page = into.subarray(at, at + pageBytes)
    page.fill(0)
    page.writeUInt32LE(1, 0)
    page.writeUInt32LE((number * 4096 + transaction * 8) >>> 0, 4)
    page.writeUInt16LE(headerBytes + rowsPerPage * 4, 12)
    page.writeUInt16LE(pageBytes - rowsPerPage * rowBytes, 14)
    page.writeUInt16LE(pageBytes, 16)
    page.writeUInt16LE(0x2004, 18)
    for (let row = 0; row < rowsPerPage; row++) this.#row(page, row, number * rowsPerPage + row, transaction)
  }

  #row(page: Buffer, row: number, key: number, transaction: number): void {
    const start = pageBytes - (row + 1) * rowBytes
    page.writeUInt32LE((start | (1 << 15) | (rowBytes << 17)) >>> 0, headerBytes + row * 4)
    page.writeUInt32LE(transaction, start)
    page.writeUInt16LE(row + 1, start + 16)
    page.writeUInt16LE(0x0802, start + 20)
    page[start + 22] = headerBytes
    page.writeUInt32LE(key, start + 24)
    page.writeUInt32LE(key >>> 7, start + 28)
    this.#at = (this.#at + 37) % (this.#random.length - 64)
    this.#random.copy(page, start + 32, this.#at, this.#at + 36)
    ;(this.#words[(this.#random[this.#at + 40] as number) % this.#words.length] as Buffer).copy(page, start + 70)
    page.fill(0x20, start + 88, start + rowBytes)
  }
}

/** Bytes nobody can compress, the same for the same seed: AES-128-CTR over zeros. */
export function randomLooking(seed: number, bytes: number): Buffer {
  const key = Buffer.alloc(16)
  key.writeUInt32LE(seed >>> 0)
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes))
}
