import { giveBack } from '../../base/give-back.ts'
import type { VolumeRecord } from '../../format/volume-log.ts'

/** What was read from the log and has been taken into the batch that is being made: that is the last to need its memory. */
export class TakenReads {
  #reads: (readonly VolumeRecord[])[] = []

  add(records: readonly VolumeRecord[]): void {
    this.#reads.push(records)
  }

  /** The batch has been made. */
  batched(): void {
    for (const records of this.#reads) {
      // All of one read stand in one memory.
      const write = records.find((record) => record.kind === 'write')
      if (write !== undefined) giveBack(write.data)
    }
    this.#reads = []
  }
}
