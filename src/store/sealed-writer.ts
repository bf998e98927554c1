import { createHash, type Hash, type KeyObject } from 'node:crypto'
import { assert } from '../base/assert.ts'
import { giveBack } from '../base/give-back.ts'
import type { Random } from '../base/random.ts'
import {
  encodeFrame,
  encodeHeader,
  encodeSeal,
  type FrameType,
  headerBytes,
  type SealedHeader,
  sealFrameBytes,
} from '../format/sealed-file.ts'
import { fileKey } from '../format/keys.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import type { GrowingFile, Store, StoreName } from './store.ts'

export interface FramePlace {
  readonly at: number
  /** Of the whole frame, from its head to its tag. */
  readonly bytes: number
}

/** A closing frame, made when all other frames are known. */
export interface ClosingFrame {
  readonly type: 'pack-index'
  /** Told where the closing frame before this one starts, 0 for the first. */
  readonly payload: (before: number) => Uint8Array
}

/** What a writer goes on from. */
interface Growth {
  readonly ordinal: number
  readonly bytes: number
  readonly lastFrameAt: number
  readonly hash: Hash
}

/** Creates the file with its header, durably: a file longer than its header has a header that is whole. */
export async function createSealed(
  { store, random }: { readonly store: Store; readonly random: Random },
  name: StoreName,
  owner: KeyObject,
  header: Omit<SealedHeader, 'file'>,
): Promise<SealedWriter> {
  const id = Buffer.from(random.bytes(16)).toString('hex') as Id
  const key = fileKey(owner, id)
  const whole = { ...header, file: id }
  const bytes = encodeHeader(whole, key)
  const file = await store.create(name)
  try {
    await file.append([bytes])
    await file.sync()
  } catch (error) {
    await file[Symbol.asyncDispose]()
    await store.remove(name)
    throw error
  }
  const hash = createHash('sha256').update(bytes)
  return new SealedWriter(file, whole, key, { ordinal: 0, bytes: headerBytes, lastFrameAt: 0, hash })
}

/**
 * The one writer of a sealed file. Frames are encrypted as they are added and written together at `flush` or `sync`.
 * After a failed `flush`, `sync` or `seal` nothing of the file after `synced` is known: dispose the writer, truncate the
 * file to `synced`, and recover it (sealed-recovery.ts).
 */
export class SealedWriter implements AsyncDisposable {
  readonly header: SealedHeader
  readonly #file: GrowingFile
  readonly #key: KeyObject
  readonly #hash: Hash
  #ordinal: number
  #bytes: number
  #lastFrameAt: number
  #synced: number
  #waiting: Uint8Array[] = []
  #usable = true

  constructor(file: GrowingFile, header: SealedHeader, key: KeyObject, growth: Growth) {
    this.header = header
    this.#file = file
    this.#key = key
    this.#ordinal = growth.ordinal
    this.#bytes = growth.bytes
    this.#synced = growth.bytes
    this.#lastFrameAt = growth.lastFrameAt
    this.#hash = growth.hash
  }

  get name(): StoreName {
    return this.#file.name
  }

  /** Length with all frames added so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** Length that is durable. */
  get synced(): number {
    return this.#synced
  }

  get frames(): number {
    return this.#ordinal
  }

  /** Takes the frame; the parts may be reused at once. */
  add(type: FrameType, payload: readonly Uint8Array[]): FramePlace {
    return this.#add(type, payload, this.#synced)
  }

  #add(type: FrameType, payload: readonly Uint8Array[], durable: number): FramePlace {
    assert(this.#usable, 'frames are added to a file that is being written')
    const parts = encodeFrame({ type, ordinal: this.#ordinal, durable }, payload, this.#key)
    const at = this.#bytes
    for (const part of parts) {
      this.#hash.update(part)
      this.#waiting.push(part)
      this.#bytes += part.length
    }
    this.#ordinal++
    this.#lastFrameAt = at
    return { at, bytes: this.#bytes - at }
  }

  /** Hands what was added to the file system; it is not durable yet. */
  async flush(): Promise<void> {
    const parts = this.#waiting
    if (parts.length === 0) return
    this.#waiting = []
    await this.#orUnusable(this.#file.append(parts))
    for (const part of parts) giveBack(part)
  }

  /** When resolved, all that was added before the call is durable. */
  async sync(): Promise<void> {
    const bytes = this.#bytes
    if (bytes === this.#synced) return
    await this.#syncFile()
    this.#synced = Math.max(this.#synced, bytes)
  }

  async #syncFile(): Promise<void> {
    await this.flush()
    await this.#orUnusable(this.#file.sync())
  }

  /** Ends the file, durably. The result is the chain hash: SHA-256 of the whole file. */
  async seal(last: Sequence, closing: readonly ClosingFrame[] = []): Promise<Buffer> {
    await this.sync()
    const closingAt = this.#bytes
    let before = 0
    for (const { type, payload } of closing) before = this.#add(type, [payload(before)], closingAt).at
    // A power cut may keep a later part of what is not synced and lose an earlier one: a seal says that all before it is there.
    // `synced` stays at the data, since recovery of a file without a seal cuts the closing frames away.
    if (closing.length > 0) await this.#syncFile()
    const seal = encodeSeal({
      frames: this.#ordinal,
      bytes: this.#bytes,
      last,
      lastFrameAt: this.#lastFrameAt,
      hash: this.#hash.copy().digest(),
    })
    const { bytes } = this.#add('seal', [seal], closingAt)
    assert(bytes === sealFrameBytes, 'a seal has one size')
    await this.sync()
    await this[Symbol.asyncDispose]()
    return this.#hash.digest()
  }

  async #orUnusable(work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      this.#usable = false
      throw error
    }
  }

  /** Closes the file as it is; what was not synced may be lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#usable = false
    await this.#file[Symbol.asyncDispose]()
  }
}
