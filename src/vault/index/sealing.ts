import { createCipheriv, createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { TidemarkError } from '../../base/errors.ts'
import { type BinaryString, fromBuffer, toBuffer } from '../../model/path.ts'
import { Recent } from './recent.ts'

/**
 * Names, link targets, extended attributes and labels stand sealed in the index: SIV style, so that equal texts are
 * equal blobs and can be looked up, and nothing else is told but their length.
 *
 *   tag         first 16 bytes of HMAC-SHA-256(k1, text)
 *   ciphertext  AES-256-CTR(k2, iv = tag) of the text
 *   k1, k2      HKDF-SHA-256 of the index key
 */
const tagBytes = 16
const namesMax = 20_000

export class Sealing {
  readonly #macKey: KeyObject
  readonly #cipherKey: KeyObject
  readonly #sealedNames = new Recent<string, Buffer>(namesMax)

  constructor(indexKey: KeyObject) {
    this.#macKey = derive(indexKey, 'tidemark index tag')
    this.#cipherKey = derive(indexKey, 'tidemark index cipher')
  }

  seal(text: Uint8Array): Buffer {
    const tag = this.#tag(text)
    return Buffer.concat([tag, createCipheriv('aes-256-ctr', this.#cipherKey, tag).update(text)])
  }

  /** The text again, checked against its tag. */
  open(sealed: Uint8Array): Buffer {
    const tag = sealed.subarray(0, tagBytes)
    const text = createCipheriv('aes-256-ctr', this.#cipherKey, tag).update(sealed.subarray(tagBytes))
    if (!this.#tag(text).equals(tag)) throw damagedIndex('a sealed text does not fit its tag')
    return text
  }

  sealName(name: BinaryString): Buffer {
    const known = this.#sealedNames.get(name)
    if (known !== undefined) return known
    const sealed = this.seal(toBuffer(name))
    this.#sealedNames.set(name, sealed)
    return sealed
  }

  openName(sealed: Uint8Array): BinaryString {
    return fromBuffer(this.open(sealed))
  }

  /**
   * Many names, one after the other, each with a NUL behind it: to look through, at a tenth of the price. Nothing is checked, so what
   * is told of them is opened once more.
   */
  openNamesUnchecked(sealed: readonly Uint8Array[]): Buffer {
    const blocksOf = (one: Uint8Array): number => Math.ceil((one.length - tagBytes) / tagBytes)
    const counters = Buffer.alloc(sealed.reduce((sum, one) => sum + blocksOf(one), 0) * tagBytes)
    let at = 0
    for (const one of sealed) {
      for (let block = 0; block < blocksOf(one); block++, at += tagBytes) {
        counters.set(one.subarray(0, tagBytes), at)
        add(counters, at + tagBytes, block)
      }
    }
    const stream = createCipheriv('aes-256-ecb', this.#cipherKey, null).setAutoPadding(false).update(counters)
    const names = Buffer.alloc(sealed.reduce((sum, one) => sum + one.length - tagBytes + 1, 0))
    let from = 0
    let to = 0
    for (const one of sealed) {
      for (let index = tagBytes; index < one.length; index++)
        names[to++] = (one[index] as number) ^ (stream[from + index - tagBytes] as number)
      to++
      from += blocksOf(one) * tagBytes
    }
    return names
  }

  #tag(text: Uint8Array): Buffer {
    return createHmac('sha256', this.#macKey).update(text).digest().subarray(0, tagBytes)
  }
}

/** To the big-endian number that ends before `end`. */
function add(counter: Buffer, end: number, count: number): void {
  for (let at = end - 1, carry = count; carry > 0; at--) {
    carry += counter[at] as number
    counter[at] = carry & 0xff
    carry >>= 8
  }
}

const derive = (key: KeyObject, purpose: string): KeyObject =>
  createSecretKey(Buffer.from(hkdfSync('sha256', key, '', purpose, 32)))

/** The first 48 bits of a sealed name, as the number by which rows are looked up. Names may share it. */
export const shortTag = (sealed: Buffer): number => sealed.readUIntBE(0, 6)

export const damagedIndex = (what: string, cause?: unknown): TidemarkError =>
  new TidemarkError('damaged', {
    message: `the index is damaged: ${what}`,
    hint: 'it is derived from the journal: stop the vault and run "tidemark vault reindex"',
    cause,
  })
