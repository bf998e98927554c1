import type { KeyObject } from 'node:crypto'
import { Malformed } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { type BlockEntry, decodeBlock } from '../format/block.ts'
import { giveBackBody } from '../format/compression.ts'
import { chunkIdOf } from '../format/keys.ts'
import type { ChunkId } from '../model/change.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Catalogue } from './catalogue.ts'
import type { Committer } from './committer.ts'
import type { Gate } from './gate.ts'
import { type Journal, violation } from './journal.ts'

export interface AppenderParts {
  readonly journal: Journal
  readonly holder: number
  readonly chunkKey: KeyObject
  readonly catalogue: Catalogue
  readonly committer: Committer
  readonly gate: Gate
  /** Told when it is ended, by whomever. */
  readonly ended: () => void
}

/** The one who may append to a journal. Bytes handed over must not be changed afterwards. */
export class JournalAppender implements AsyncDisposable {
  readonly #parts: AppenderParts
  /** Chunks may be referred to that were touched since this epoch. */
  readonly epoch: number
  #ended: TidemarkError | undefined
  #ending: Promise<void> | undefined

  constructor(parts: AppenderParts) {
    this.#parts = parts
    this.epoch = parts.catalogue.epoch
  }

  /** Last durable sequence. */
  get durable(): Sequence {
    return this.#parts.journal.durable
  }

  /** The cursor of the last durable batch. */
  get cursor(): Uint8Array {
    return this.#parts.journal.end.cursor
  }

  /** True while nothing can be made durable for want of room. */
  get stalled(): boolean {
    return this.#parts.committer.stalled
  }

  /**
   * Which of these chunks this agent has neither sent nor proved to hold. Others may be referred to for `touchedKeptMs`,
   * and longer while this session lasts.
   */
  missing(ids: readonly ChunkId[]): boolean[] {
    this.#checkOpen()
    const { catalogue, holder } = this.#parts
    return ids.map((id) => catalogue.bytesOf(holder, id) === undefined)
  }

  /**
   * Checks every chunk against its name and keeps the block; waits while too much is waiting already. It is durable
   * before any batch is that is given later.
   */
  async block(bytes: Uint8Array): Promise<void> {
    const { gate } = this.#parts
    this.#checkOpen()
    await gate.enter(bytes.length)
    let kept = false
    try {
      this.#checkOpen()
      kept = this.#keep(bytes, verified(bytes, this.#parts.chunkKey))
    } finally {
      if (!kept) gate.leave(bytes.length)
    }
  }

  /** False where nothing of it is new. Where all of it is here already, only that this agent has it is kept. */
  #keep(bytes: Uint8Array, chunks: readonly BlockEntry[]): boolean {
    const { catalogue, committer, gate, holder } = this.#parts
    const news = chunks.filter(({ id }) => catalogue.bytesOf(holder, id) === undefined)
    if (news.length === 0) return false
    const durable = (): void => gate.leave(bytes.length)
    const ids = [...new Set(news.map(({ id }) => id))]
    if (ids.every((id) => catalogue.isKnown(id))) {
      committer.item({ kind: 'claim', holder, ids }, bytes.length, durable)
    } else {
      committer.item({ kind: 'block', holder, chunks, block: bytes }, bytes.length, durable)
    }
    for (const { id, bytes: length } of news) catalogue.arrive(holder, id, length)
    return true
  }

  /**
   * Checks the batch (form, sequence, moments, chunks) and appends it; resolves once it is durable. One that is durable
   * already resolves at once. Without room it waits until there is room.
   */
  async batch(bytes: Uint8Array): Promise<void> {
    const { gate, journal, catalogue, committer, holder } = this.#parts
    this.#checkOpen()
    await gate.enter(bytes.length)
    try {
      this.#checkOpen()
      const checked = journal.check(bytes, (id) => catalogue.bytesOf(holder, id))
      if ('already' in checked) {
        if (checked.already > journal.durable) await committer.reached(journal, checked.already)
      } else {
        await committer.batch(journal, holder, checked)
      }
    } finally {
      gate.leave(bytes.length)
    }
  }

  #checkOpen(): void {
    if (this.#ended) throw this.#ended
  }

  /** Refuses all further calls, and what waits; returns once nothing of it is being written. */
  end(reason: TidemarkError): Promise<void> {
    return (this.#ending ??= this.#end(reason))
  }

  async #end(reason: TidemarkError): Promise<void> {
    this.#ended = reason
    const { journal, committer, ended } = this.#parts
    await committer.giveUp(journal, reason)
    journal.forgetChecked()
    ended()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end(new TidemarkError('interrupted', { message: 'the session has ended' }))
  }
}

function verified(bytes: Uint8Array, chunkKey: KeyObject): readonly BlockEntry[] {
  const { entries, body } = decoded(bytes)
  for (const { id, at, bytes: length } of entries) {
    if (chunkIdOf(chunkKey, body.subarray(at, at + length)) !== id) {
      throw violation(`chunk ${Buffer.from(id, 'latin1').toString('hex')} is not what its name says`)
    }
  }
  giveBackBody(body, bytes)
  return entries
}

function decoded(bytes: Uint8Array): ReturnType<typeof decodeBlock> {
  try {
    return decodeBlock(bytes)
  } catch (error) {
    if (error instanceof Malformed) throw violation(`a block is not of its form: ${error.message}`)
    throw error
  }
}
