import { createCipheriv } from 'node:crypto'

/** Random-looking bytes for golden tests and measurements, the same on every machine: AES-128-CTR of zeros, the seed as key. */
export function randomBytes(seed: bigint, length: number): Buffer {
  const key = Buffer.alloc(16)
  key.writeBigUInt64LE(seed)
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}
