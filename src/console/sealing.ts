import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'

const nonceBytes = 12
const tagBytes = 16

/** Seals secrets that the database keeps: nonce, AES-256-GCM of the text, tag. `what` binds a secret to its place. */
export class Sealing {
  readonly #key: KeyObject
  readonly #random: Random

  constructor(key: KeyObject, random: Random) {
    this.#key = key
    this.#random = random
  }

  seal(text: string, what: string): Uint8Array {
    const nonce = this.#random.bytes(nonceBytes)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(what, 'utf8'))
    return Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
  }

  open(sealed: Uint8Array, what: string): string {
    const bytes = Buffer.from(sealed)
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      })
      decipher.setAAD(Buffer.from(what, 'utf8')).setAuthTag(bytes.subarray(bytes.length - tagBytes))
      return Buffer.concat([
        decipher.update(bytes.subarray(nonceBytes, bytes.length - tagBytes)),
        decipher.final(),
      ]).toString('utf8')
    } catch (error) {
      throw new TidemarkError('key-refused', {
        message: `the ${what} that the console keeps cannot be read: ${messageOf(error)}`,
        hint: 'bring secret.key back from the copy of the directory that console.sqlite is from, or set it anew',
        cause: error,
      })
    }
  }
}
