import { TidemarkError } from '../../base/errors.ts'
import type { Change, ChunkId, Extent } from '../../model/change.ts'
import { formatSequence, type Sequence } from '../../model/sequence.ts'
import type { Piece } from '../index/extent-reader.ts'
import type { BatchPlace, ChunkReader, JournalReader, RestingBlock, StoredBatch } from '../reader.ts'
import { RecentBatches } from './recent-batches.ts'

/** Brings the bytes of pieces: chunks from the packs, inline data from the journal. All of them are authenticated. */
export class ContentReader {
  readonly #journal: JournalReader
  readonly #chunks: ChunkReader
  readonly #batches: RecentBatches

  /** `batches` are those of the whole thread. */
  constructor(journal: JournalReader, chunks: ChunkReader, batches = new RecentBatches()) {
    this.#journal = journal
    this.#chunks = chunks
    this.#batches = batches
  }

  /** All bytes of a piece; `placeOf` may know where the batch of a change rests. */
  async read(piece: Piece, placeOf?: PlaceOf): Promise<Buffer> {
    const { source } = piece
    const whole = 'chunk' in source ? await this.#chunks.read(source.chunk) : await this.#inline(source, placeOf)
    const bytes = whole.subarray(piece.skip, piece.skip + piece.bytes)
    if (bytes.length === piece.bytes) return bytes
    throw new TidemarkError('damaged', {
      message: `${describe(piece)} has ${whole.length} bytes where ${piece.skip + piece.bytes} are needed`,
      hint: 'the index does not fit the journal: stop the vault, run "tidemark vault reindex", then verify again',
    })
  }

  /** The block that a chunk rests in, undefined where it does not rest in one that can be had. */
  async block(id: ChunkId): Promise<RestingBlock | undefined> {
    try {
      return await this.#chunks.block?.(id)
    } catch (error) {
      // Reading the chunk itself tells the reason, or finds where the same bytes stand now.
      if (error instanceof TidemarkError) return undefined
      throw error
    }
  }

  /** The whole data of the extent or write that began at `origin` in the change of that sequence. */
  async #inline(
    { sequence, origin }: { sequence: Sequence; origin: number },
    placeOf: PlaceOf | undefined,
  ): Promise<Buffer> {
    const { batch } = await this.#batchOf(sequence, placeOf)
    const change = batch.changes[sequence - batch.first]?.change
    const data = change === undefined ? undefined : dataAt(change, origin)
    if (data !== undefined) return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    throw new TidemarkError('damaged', {
      message: `the change ${formatSequence(sequence)} holds no data for offset ${origin}`,
      hint: 'the index does not fit the journal: stop the vault, run "tidemark vault reindex", then verify again',
    })
  }

  async #batchOf(sequence: Sequence, placeOf: PlaceOf | undefined): Promise<StoredBatch> {
    const known = this.#batches.find(this.#journal, sequence)
    if (known !== undefined) return known
    const stored = await this.#journal.batchOf(sequence, placeOf?.(sequence))
    this.#batches.keep(this.#journal, stored)
    return stored
  }
}

type PlaceOf = (sequence: Sequence) => BatchPlace | undefined

function dataAt(change: Change, origin: number): Uint8Array | undefined {
  switch (change.kind) {
    case 'write':
      return change.at === origin ? change.data : undefined
    case 'put':
      return change.content.type === 'file' ? extentAt(change.content.extents, origin) : undefined
    case 'patch':
      return extentAt(change.extents, origin)
    default:
      return undefined
  }
}

function extentAt(extents: readonly Extent[], origin: number): Uint8Array | undefined {
  const extent = extents.find(({ at }) => at === origin)
  return extent !== undefined && 'data' in extent ? extent.data : undefined
}

const describe = ({ source }: Piece): string =>
  'chunk' in source
    ? `chunk ${Buffer.from(source.chunk, 'latin1').toString('hex')}`
    : `the data of change ${formatSequence(source.sequence)}`
