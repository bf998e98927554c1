import type { Chunk } from '../../format/block.ts'
import type { Attributes, Extent } from '../../model/change.ts'
import type { TreePath } from '../../model/path.ts'
import type { ChunkIds } from '../chunk-ids.ts'
import type { BulkSink } from './bulk-sink.ts'

/**
 * Four pages, cut at multiples of this: where one page of a hundred was changed at random, four chunks of a hundred are new.
 * Half of it would send half as much then, and make the vault keep twice as many chunks in mind.
 */
const chunkBytes = 32 * 1024
/** Content up to this length stands in the change itself. */
const inlineBytes = 4096
/** Of the content that one change brings: what one block holds. */
const pieceBytes = 1024 * 1024
const zeros = Buffer.alloc(chunkBytes)

export interface CopiedFile {
  readonly path: TreePath
  readonly attributes: Attributes
  /** Undefined for one whose length shows at its end. */
  readonly bytes: number | undefined
}

/** Puts one file whose content comes in pieces: `put` with the first MiB, `patch` for each further one. Zeros are holes. */
export class FileCopy {
  readonly #file: CopiedFile
  readonly #sink: BulkSink
  readonly #ids: ChunkIds
  /** Handed to the sink with the chunks in it, and then made anew. */
  #piece: Buffer | undefined
  #pieceAt = 0
  #filled = 0
  #isPut = false

  constructor(file: CopiedFile, sink: BulkSink, ids: ChunkIds) {
    this.#file = file
    this.#sink = sink
    this.#ids = ids
  }

  /** So far. */
  get bytes(): number {
    return this.#pieceAt + this.#filled
  }

  async add(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const piece = (this.#piece ??= Buffer.allocUnsafeSlow(this.#pieceLength()))
      const taken = bytes.copy(piece, this.#filled, at)
      at += taken
      this.#filled += taken
      if (this.#filled === piece.length) await this.#writePiece()
    }
  }

  async finish(): Promise<void> {
    if (this.#filled > 0 || !this.#isPut) await this.#writePiece()
  }

  #pieceLength(): number {
    const { bytes = Number.POSITIVE_INFINITY } = this.#file
    return Math.min(pieceBytes, bytes - this.#pieceAt)
  }

  async #writePiece(): Promise<void> {
    const { path, attributes } = this.#file
    const { extents, chunks } = this.#cut(this.#piece?.subarray(0, this.#filled) ?? Buffer.alloc(0))
    // A piece of zeros alone is no one's, and filled again.
    if (extents.length > 0) this.#piece = undefined
    this.#pieceAt += this.#filled
    this.#filled = 0
    const bytes = this.#file.bytes ?? this.#pieceAt
    if (!this.#isPut) {
      await this.#sink.write({ kind: 'put', path, attributes, content: { type: 'file', bytes, extents } }, chunks)
    } else if (extents.length > 0 || this.#file.bytes === undefined) {
      await this.#sink.write({ kind: 'patch', path, attributes, bytes, extents, zeros: [] }, chunks)
    }
    this.#isPut = true
  }

  #cut(piece: Buffer): { extents: Extent[]; chunks: Chunk[] } {
    const extents: Extent[] = []
    const chunks: Chunk[] = []
    for (let start = 0; start < piece.length; start += chunkBytes) {
      const data = piece.subarray(start, start + chunkBytes)
      if (data.equals(zeros.subarray(0, data.length))) continue
      const at = this.#pieceAt + start
      if (this.#file.bytes !== undefined && this.#file.bytes <= inlineBytes) {
        extents.push({ at, bytes: data.length, data })
      } else {
        const id = this.#ids.of(data)
        extents.push({ at, bytes: data.length, chunk: id })
        chunks.push({ id, data })
      }
    }
    return { extents, chunks }
  }
}
