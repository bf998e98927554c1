import type { Sequence } from '../../model/sequence.ts'
import type { Lane } from '../batch-builder.ts'
import type { CapturedBatch } from '../capture.ts'
import { waitingBytes } from '../output-queue.ts'

/** Bytes of batches that nobody has taken: no record is taken, and already before that nothing is copied. */
const untakenBytesMax: Readonly<Record<Lane, number>> = { live: 4 * 1024 * 1024, bulk: 2 * 1024 * 1024 }
/** Less than the agent holds in memory: what is more stays in the log, and is not written to the agent's spool as well. */
const unacknowledgedBytesMax = 24 * 1024 * 1024

/** What a capture has handed over: not taken by the agent, or not acknowledged by the vault. */
export class Outgoing {
  readonly #unacknowledged: { readonly last: Sequence; readonly bytes: number }[] = []
  #unacknowledgedBytes = 0
  #untakenBytes = 0

  handed(batch: CapturedBatch): void {
    const bytes = waitingBytes(batch)
    this.#untakenBytes += bytes
    this.#unacknowledgedBytes += bytes
    this.#unacknowledged.push({ last: batch.last, bytes })
  }

  taken(bytes: number): void {
    this.#untakenBytes -= bytes
  }

  acknowledged(upTo: Sequence): void {
    const left = this.#unacknowledged.findIndex(({ last }) => last > upTo)
    const gone = this.#unacknowledged.splice(0, left < 0 ? this.#unacknowledged.length : left)
    for (const { bytes } of gone) this.#unacknowledgedBytes -= bytes
  }

  hasRoom(lane: Lane): boolean {
    return this.#untakenBytes < untakenBytesMax[lane] && this.#unacknowledgedBytes < unacknowledgedBytesMax
  }
}
