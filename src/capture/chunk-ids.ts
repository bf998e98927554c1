import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'
import type { ChunkId } from '../model/change.ts'

const blockBytes = 64
const digestBytes = 32
/** Up to here, making an Hmac object costs more than a copy of the bytes. */
const copiedBytesMax = 32 * 1024

/**
 * Names of chunks: HMAC-SHA-256 (RFC 2104). For short ones it is done by two one-shot hashes, several times faster than
 * by an object of Node's:  H(key ^ opad, H(key ^ ipad, bytes)).
 */
export class ChunkIds {
  readonly #key: KeyObject
  readonly #inner = Buffer.alloc(blockBytes + copiedBytesMax)
  readonly #outer = Buffer.alloc(blockBytes + digestBytes)

  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key)
    const padded = Buffer.alloc(blockBytes)
    padded.set(key.length > blockBytes ? hash('sha256', key, 'buffer') : key)
    for (let at = 0; at < blockBytes; at++) {
      this.#inner[at] = (padded[at] as number) ^ 0x36
      this.#outer[at] = (padded[at] as number) ^ 0x5c
    }
  }

  of(bytes: Uint8Array): ChunkId {
    if (bytes.length > copiedBytesMax) {
      return createHmac('sha256', this.#key).update(bytes).digest('latin1') as ChunkId
    }
    this.#inner.set(bytes, blockBytes)
    this.#outer.set(hash('sha256', this.#inner.subarray(0, blockBytes + bytes.length), 'buffer'), blockBytes)
    return hash('sha256', this.#outer, 'buffer').toString('latin1') as ChunkId
  }
}
