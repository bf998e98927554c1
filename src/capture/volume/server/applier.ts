import { type BlockEntry, blockBytes, type BlockLayer, piecesOf } from './block-layer.ts'
import type { ApplyStep, Backing } from './files.ts'
import type { VolumeLog } from './log.ts'

/** Steps are handed to the backing so many at a time; what a batch has written is pending no more. */
const batchBlocks = 2048
const copyBytesMax = 1024 ** 2
/** Zeros are written so much at a time, so that others may have the disk in between. */
const zeroBlocks = 16_384

export interface ApplyParts {
  readonly log: VolumeLog
  readonly backing: Backing
}

/**
 * Writes a layer to the backing, of what is synced in the log: zeros first, since the blocks of a layer are newer than its zeros. The
 * layer may take over more meanwhile. What it held at the beginning, or what came over it since, is in the backing at the end or still
 * in the layer, and then by later records alone. A layer that is emptied on an error keeps what is not surely written.
 */
export async function applyLayer(layer: BlockLayer, { log, backing }: ApplyParts): Promise<void> {
  for (const { start, end } of [...layer.zeros.ranges]) {
    for (let first = start; first < end; first += zeroBlocks) {
      const after = Math.min(first + zeroBlocks, end)
      await backing.apply([{ kind: 'zero', at: first * blockBytes, bytes: (after - first) * blockBytes }])
      layer.zeros.remove(first, after)
    }
  }
  const blocks = Float64Array.from(layer.blocks.keys()).sort()
  for (let from = 0; from < blocks.length; from += batchBlocks) {
    const batch: [number, BlockEntry][] = []
    const steps = new Steps(log)
    for (const block of blocks.subarray(from, from + batchBlocks)) {
      const entry = layer.blocks.get(block)
      // Zeros that came since lie under what is newer than them: they have to be written first, by the next round.
      if (entry === undefined || layer.zeros.has(block)) continue
      batch.push([block, entry])
      steps.add(block, entry)
    }
    if (batch.length === 0) continue
    await backing.apply(steps.made)
    for (const [block, entry] of batch) layer.forget(block, entry)
  }
}

/** Pieces that go on where the one before ends, in the log and in the volume, become one step. */
class Steps {
  readonly made: ApplyStep[] = []
  readonly #log: VolumeLog

  constructor(log: VolumeLog) {
    this.#log = log
  }

  add(block: number, entry: BlockEntry): void {
    for (const { start, end, from } of piecesOf(entry)) {
      const at = block * blockBytes + start
      const bytes = end - start
      if (from === undefined) this.made.push({ kind: 'zero', at, bytes })
      else {
        const { segment, position } = this.#log.place(from)
        this.#copy({ kind: 'copy', from: segment.file, position, at, bytes })
      }
    }
  }

  #copy(step: Extract<ApplyStep, { kind: 'copy' }>): void {
    const last = this.made.at(-1)
    const goesOn =
      last?.kind === 'copy' &&
      last.from === step.from &&
      last.position + last.bytes === step.position &&
      last.at + last.bytes === step.at &&
      last.bytes + step.bytes <= copyBytesMax
    if (goesOn) this.made[this.made.length - 1] = { ...last, bytes: last.bytes + step.bytes }
    else this.made.push(step)
  }
}
