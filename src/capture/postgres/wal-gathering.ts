import { type Lsn, lsn } from '../../model/lsn.ts'
import { walBytesPerBatch } from './journal.ts'
import type { WalItem } from './protocol/wal-stream.ts'

/** Less than this is kept until more has come, if more is known to come. */
const worthBytes = walBytesPerBatch / 2

/**
 * Cuts WAL into pieces for batches: all that has come, but while the server is known to have more, only pieces that are worth
 * a batch. What is kept back is forgotten with the stream, and streamed again.
 */
export class WalGathering {
  readonly #kept = Buffer.allocUnsafeSlow(walBytesPerBatch)
  #keptBytes = 0;

  /** Each piece holds until the next one is asked for. */
  *pieces({ start, bytes }: Extract<WalItem, { kind: 'wal' }>, serverEnd: Lsn): Generator<Buffer> {
    const isAll = lsn(start + bytes.length) >= serverEnd
    let at = 0
    while (at < bytes.length) {
      const left = bytes.length - at
      if (this.#keptBytes === 0 && (isAll || left >= worthBytes)) {
        const piece = bytes.subarray(at, at + walBytesPerBatch)
        at += piece.length
        yield piece
        continue
      }
      const count = Math.min(left, walBytesPerBatch - this.#keptBytes)
      bytes.copy(this.#kept, this.#keptBytes, at, at + count)
      this.#keptBytes += count
      at += count
      if (this.#keptBytes === walBytesPerBatch || isAll) yield* this.rest()
    }
  }

  /** What is kept back. */
  *rest(): Generator<Buffer> {
    if (this.#keptBytes === 0) return
    const piece = this.#kept.subarray(0, this.#keptBytes)
    this.#keptBytes = 0
    yield piece
  }
}
