import { ByteReader } from '../base/bytes.ts'
import type { Batch } from '../model/batch.ts'
import { moment, type Moment } from '../model/moment.ts'
import { decodeBatch } from './batch.ts'

/**
 * Content of a batch frame of a segment: u64 moment it was received, by the vault's clock, then the batch as it
 * travelled (format/batch.ts).
 */
export function batchPayload(received: Moment, batch: Uint8Array): Uint8Array[] {
  const head = Buffer.allocUnsafe(8)
  head.writeBigUInt64BE(BigInt(received))
  return [head, batch]
}

export function readBatchPayload(payload: Buffer): { batch: Batch; received: Moment } {
  const reader = new ByteReader(payload)
  const received = moment(reader.u64())
  return { received, batch: decodeBatch(reader.raw(reader.remaining)) }
}
