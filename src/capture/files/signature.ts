import { type ChunkId, chunkIdBytes } from '../../model/change.ts'

/**
 * What a file's content is made of: its chunks, ascending; ranges between them are holes. It describes the content,
 * not how a vault happens to keep it. Entry, little-endian:
 *    0  8  at       offset in the file
 *    8  4  bytes    length
 *   12 32  id       chunk id
 *   44  8  print    XXH64 of the bytes, for a quick comparison; 0 where it is not known
 */
export type Signature = Buffer & { readonly is: 'signature' }
export const signatureEntryBytes = 52

export const emptySignature = Buffer.alloc(0) as Signature

export interface SignatureEntry {
  readonly at: number
  readonly bytes: number
  readonly id: ChunkId
  readonly print: bigint
}

export const entriesOf = (signature: Signature): number => signature.length / signatureEntryBytes

export const entryAt = (signature: Signature, index: number): number =>
  Number(signature.readBigUInt64LE(index * signatureEntryBytes))
export const entryBytes = (signature: Signature, index: number): number =>
  signature.readUInt32LE(index * signatureEntryBytes + 8)
export const entryId = (signature: Signature, index: number): ChunkId => {
  const start = index * signatureEntryBytes + 12
  return signature.toString('latin1', start, start + chunkIdBytes) as ChunkId
}
export const entryPrint = (signature: Signature, index: number): bigint =>
  signature.readBigUInt64LE(index * signatureEntryBytes + 44)

/** Grows by entries, new ones or ones taken over from another signature. */
export class SignatureBuilder {
  #buffer = Buffer.allocUnsafe(signatureEntryBytes)
  #length = 0

  add(entry: SignatureEntry): void {
    const at = this.#room()
    this.#buffer.writeBigUInt64LE(BigInt(entry.at), at)
    this.#buffer.writeUInt32LE(entry.bytes, at + 8)
    this.#buffer.write(entry.id, at + 12, 'latin1')
    this.#buffer.writeBigUInt64LE(entry.print, at + 44)
  }

  copy(from: Signature, index: number): void {
    const start = index * signatureEntryBytes
    const at = this.#room() // before #buffer is read: it may be another one afterwards
    from.copy(this.#buffer, at, start, start + signatureEntryBytes)
  }

  build(): Signature {
    return this.#buffer.subarray(0, this.#length) as Signature
  }

  #room(): number {
    const at = this.#length
    this.#length += signatureEntryBytes
    if (this.#length > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(this.#buffer.length * 2)
      this.#buffer.copy(grown, 0, 0, at)
      this.#buffer = grown
    }
    return at
  }
}

/** Whether two signatures are of the same content, as far as their cuts are the same. */
export function isSameIds(a: Signature, b: Signature): boolean {
  if (a.length !== b.length) return false
  for (let start = 0; start < a.length; start += signatureEntryBytes) {
    if (a.compare(b, start, start + 44, start, start + 44) !== 0) return false
  }
  return true
}
