import { scrypt, timingSafeEqual } from 'node:crypto'
import { TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'

/** log2 of N. One hash takes 128 MiB and a fraction of a second. */
const costOfNew = 17
const blockSize = 8
const parallelism = 1
const saltBytes = 16
const hashBytes = 32

/** Hashes under way, for the memory they take. */
const atOnceMax = 2
/** Those that wait for them. */
const waitingMax = 32

export const passwordLengthMin = 10

/** Hashes passwords, `scrypt$17$8$1$SALT$HASH` (base64url), few at once. */
export class Passwords {
  readonly #random: Random
  readonly #cost: number
  readonly #waiting: (() => void)[] = []
  #atOnce = 0

  /** `cost` is for tests that sign in often. */
  constructor(random: Random, cost: number = costOfNew) {
    this.#random = random
    this.#cost = cost
  }

  async hash(password: string): Promise<string> {
    const salt = Buffer.from(this.#random.bytes(saltBytes))
    const hash = await this.#scrypt(password, salt, this.#cost)
    return ['scrypt', this.#cost, blockSize, parallelism, text(salt), text(hash)].join('$')
  }

  /** Takes as long where there is no account, and `kept` is undefined. */
  async matches(password: string, kept: string | undefined): Promise<boolean> {
    const [, cost = this.#cost, , , salt = '', hash = ''] = kept?.split('$') ?? []
    const found = await this.#scrypt(password, Buffer.from(salt, 'base64url'), Number(cost))
    const wanted = Buffer.from(hash, 'base64url')
    return wanted.length === found.length && timingSafeEqual(wanted, found)
  }

  async #scrypt(password: string, salt: Buffer, cost: number): Promise<Buffer> {
    await this.#turn()
    try {
      return await new Promise((resolve, reject) => {
        const options = { N: 2 ** cost, r: blockSize, p: parallelism, maxmem: 2 ** (cost + 8) * blockSize }
        scrypt(password.normalize('NFKC'), salt, hashBytes, options, (error, key) =>
          error ? reject(error) : resolve(key),
        )
      })
    } finally {
      this.#atOnce--
      this.#waiting.shift()?.()
    }
  }

  async #turn(): Promise<void> {
    if (this.#atOnce >= atOnceMax) {
      if (this.#waiting.length >= waitingMax) {
        throw new TidemarkError('busy', {
          message: 'too many people sign in at this moment',
          hint: 'try again in a minute',
        })
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    this.#atOnce++
  }
}

const text = (bytes: Buffer): string => bytes.toString('base64url')

/** The rules for a new one. */
export function demandGoodPassword(password: string, name: string): void {
  const plain = password.normalize('NFKC')
  const isName = plain.toLowerCase().includes(name.normalize('NFKC').toLowerCase())
  if (plain.length >= passwordLengthMin && !isName && new Set(plain).size >= 4) return
  throw new TidemarkError('bad-request', {
    message: 'the new password is too easy to guess',
    hint: `take at least ${passwordLengthMin} characters, at least 4 of them different, and not the name of the account in it`,
  })
}

/** 20 characters that are not taken for each other, about 98 bits. */
export function generatePassword(random: Random): string {
  const letters = 'abcdefghjkmnpqrstuvwxyz23456789'
  const all: string[] = []
  while (all.length < 20) {
    for (const byte of random.bytes(32)) {
      // Those above would make the first letters likelier.
      if (byte < letters.length * 8 && all.length < 20) all.push(letters[byte % letters.length] as string)
    }
  }
  return (all.join('').match(/.{5}/g) as string[]).join('-')
}
