import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import type { Random } from '../../../base/random.ts'

/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL has it: the user's name is left out, the server knows it already.
 * Both sides prove that they know the password, and neither learns it.
 */
export const scramMechanism = 'SCRAM-SHA-256'
export const scramPlusMechanism = 'SCRAM-SHA-256-PLUS'

/** How the exchange is tied to the TLS connection below. `unused`: we could, and the server did not offer it. */
export type Binding =
  | { readonly kind: 'none' }
  | { readonly kind: 'unused' }
  /** tls-server-end-point (RFC 5929): the hash of the server's certificate. */
  | { readonly kind: 'bound'; readonly certificateHash: Uint8Array }

/** More would be a server keeping us busy; PostgreSQL's own number is 4096. */
const iterationsMax = 10_000_000
const nonceBytes = 18
const derive = promisify(pbkdf2)

/** Not what RFC 5802 says; the outer layer knows which server it was. */
export class ScramRefused extends Error {
  override readonly name = 'ScramRefused'
}

export class Scram {
  readonly #password: string
  readonly #gs2Header: string
  readonly #bindingData: Buffer
  readonly #nonce: string
  #expected: Buffer | undefined

  constructor(password: string, binding: Binding, random: Random) {
    this.#password = preparePassword(password)
    this.#gs2Header = { none: 'n,,', unused: 'y,,', bound: 'p=tls-server-end-point,,' }[binding.kind]
    const hash = binding.kind === 'bound' ? binding.certificateHash : Buffer.alloc(0)
    this.#bindingData = Buffer.concat([Buffer.from(this.#gs2Header), hash])
    this.#nonce = Buffer.from(random.bytes(nonceBytes)).toString('base64')
  }

  first(): string {
    return this.#gs2Header + this.#bare
  }

  get #bare(): string {
    return `n=,r=${this.#nonce}`
  }

  async final(serverFirst: string): Promise<string> {
    const parts = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+=*),i=([1-9]\d{0,8})(?:,.*)?$/.exec(serverFirst)
    if (!parts) throw new ScramRefused('its challenge is not one')
    const [, nonce, salt, count] = parts as unknown as [string, string, string, string]
    if (!nonce.startsWith(this.#nonce) || nonce === this.#nonce)
      throw new ScramRefused('its nonce does not continue ours')
    const iterations = Number(count)
    if (iterations > iterationsMax) throw new ScramRefused(`it asks for ${iterations} iterations`)
    const salted = await derive(this.#password, Buffer.from(salt, 'base64'), iterations, 32, 'sha256')
    const withoutProof = `c=${this.#bindingData.toString('base64')},r=${nonce}`
    const signed = `${this.#bare},${serverFirst},${withoutProof}`
    const clientKey = hmac(salted, 'Client Key')
    const signature = hmac(createHash('sha256').update(clientKey).digest(), signed)
    this.#expected = hmac(hmac(salted, 'Server Key'), signed)
    const proof = clientKey.map((byte, at) => byte ^ (signature[at] as number))
    return `${withoutProof},p=${Buffer.from(proof).toString('base64')}`
  }

  /** Throws where the server has not proved that it knows the password. */
  verify(serverFinal: string): void {
    const given = Buffer.from(/^v=([A-Za-z0-9+/]+=*)(?:,.*)?$/.exec(serverFinal)?.[1] ?? '', 'base64')
    const expected = this.#expected
    if (!expected || given.length !== expected.length || !timingSafeEqual(given, expected)) {
      throw new ScramRefused('it has not proved that it knows the password')
    }
  }
}

const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

const otherSpaces = /[\u00A0\u1680\u2000-\u200B\u202F\u205F\u3000]/g
const mappedToNothing = /\u00AD|\u034F|\u1806|[\u{180B}-\u{180D}]|\u200C|\u200D|\u2060|[\u{FE00}-\u{FE0F}]|\uFEFF/gu
const prohibited = /[\p{Cc}\p{Cs}\p{Co}\p{Noncharacter_Code_Point}]/u

/** SASLprep (RFC 4013). Like the server's: a password that it does not allow is used as it is. */
function preparePassword(password: string): string {
  const prepared = password.replaceAll(otherSpaces, ' ').replaceAll(mappedToNothing, '').normalize('NFKC')
  return prepared === '' || prohibited.test(prepared) ? password : prepared
}
