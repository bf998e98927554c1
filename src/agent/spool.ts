import type { KeyObject } from 'node:crypto'
import { assert } from '../base/assert.ts'
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { isCode } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { noHash } from '../format/sealed-file.ts'
import { type Moment, moment } from '../model/moment.ts'
import { advance, beforeFirst, formatSequence, type Sequence, sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { damaged } from '../store/damaged.ts'
import { type Frame, type FrameScan, openSealed, type ScanStart } from '../store/sealed-reader.ts'
import { recoverSealed } from '../store/sealed-recovery.ts'
import { createSealed, type SealedWriter } from '../store/sealed-writer.ts'
import type { Store, StoreName } from '../store/store.ts'
import type { ShippedBatch } from '../wire/ship.ts'

export interface SpooledBatch extends ShippedBatch {
  /** Of its last change. */
  readonly moment: Moment
}

/** Beyond this a file is sealed and the next one begun; files are deleted whole. */
export const spoolFileBytesMax = 64 * 1024 * 1024
/** The file system of the spool keeps at least this free, or this part of it, whichever is more. */
export const freeBytesMin = 1024 * 1024 * 1024
export const freePartMin = 0.05

export interface SpoolParts {
  readonly store: Store
  readonly random: Random
  readonly key: KeyObject
  readonly source: Id
  readonly bytesMax: number
  /** Instead of the limits above. */
  readonly freeMin?: number | undefined
}

interface SpoolFile {
  readonly name: StoreName
  readonly first: Sequence
  last: Sequence
  bytes: number
}

/**
 * Batches of one source on the agent's disk, in order and without a gap, until the vault has them. Each file is a sealed
 * file (format/sealed-file.ts) of kind spool: the blocks of a batch, then the batch, whose frame begins with
 *
 *   u64 first sequence, u64 last sequence, u64 moment of its last change, u8 1 for bulk
 *
 * A batch counts from its batch frame on; blocks at the end of a file without their batch are nothing.
 */
export class Spool implements AsyncDisposable {
  readonly #parts: SpoolParts
  readonly #files: SpoolFile[]
  #writer: SealedWriter | undefined
  #reader: SpoolReader | undefined
  /** Given up, and still on disk. */
  readonly #lost: StoreName[] = []
  #damage: string | undefined

  private constructor(parts: SpoolParts, files: SpoolFile[]) {
    this.#parts = parts
    this.#files = files
  }

  /**
   * Whatever was going on when the process before ended: what is found is whole batches, contiguous. A damaged file is
   * given up with all that follow it: `removeLost` comes before anything is added.
   */
  static async open(parts: SpoolParts): Promise<Spool> {
    const { store, key } = parts
    const spool = new Spool(parts, [])
    for (const { name } of await store.list('')) {
      if (!name.endsWith(suffix)) continue
      const found = spool.#damage === undefined ? await recovered(store, name, key) : 'it follows a damaged file'
      const before = spool.#files.at(-1)
      if (found === undefined) await store.remove(name)
      else if (typeof found === 'string') spool.#lose(name, found)
      else if (before && found.first !== advance(before.last, 1))
        spool.#lose(name, `${name} does not follow ${before.name}`)
      else spool.#files.push(found)
    }
    return spool
  }

  #lose(name: StoreName, why: string): void {
    this.#lost.push(name)
    this.#damage ??= why
  }

  /** Why something that had been put here is not here any more. */
  get damage(): string | undefined {
    return this.#damage
  }

  /** The last file turned out to be damaged. */
  giveUpLast(why: string): void {
    const file = this.#files.pop()
    assert(file !== undefined && this.#writer === undefined, 'a file that is not being written is given up')
    this.#lose(file.name, why)
  }

  /** Takes what was given up off the disk: until then the next start finds the damage again. */
  async removeLost(): Promise<void> {
    for (let name = this.#lost[0]; name !== undefined; name = this.#lost[0]) {
      await this.#parts.store.remove(name)
      this.#lost.shift()
    }
  }

  get isEmpty(): boolean {
    return this.#files.length === 0
  }

  /** First batch that is held begins here; meaningless while empty. */
  get start(): Sequence {
    return this.#files[0]?.first ?? beforeFirst
  }

  get end(): Sequence {
    return this.#files.at(-1)?.last ?? beforeFirst
  }

  /** What has to be at the vault before anything goes from here; meaningless while empty. */
  get firstFileEnd(): Sequence {
    return this.#files[0]?.last ?? beforeFirst
  }

  get bytes(): number {
    return this.#files.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Resolves true once the batches are durable here; false, keeping none of them, where there is no room. */
  async append(batches: readonly SpooledBatch[]): Promise<boolean> {
    assert(this.isEmpty || batches[0]?.first === advance(this.end, 1), 'the spool holds batches without a gap')
    const wanted = batches.reduce((sum, batch) => sum + bytesOf(batch), 0)
    if (!(await this.#hasRoom(wanted))) return false
    try {
      const writer = (this.#writer ??= await this.#begin(batches[0] as SpooledBatch))
      for (const { first, last, moment: at, bulk, blocks, bytes } of batches) {
        for (const block of blocks) writer.add('block', [block])
        writer.add('batch', [
          new ByteWriter(headBytes)
            .u64(first)
            .u64(last)
            .u64(at)
            .u8(bulk ? 1 : 0)
            .finish(),
          bytes,
        ])
      }
      await writer.sync()
      const file = this.#files.at(-1) as SpoolFile
      file.last = (batches.at(-1) as SpooledBatch).last
      file.bytes = writer.bytes
    } catch (error) {
      await this.#giveUpWriter()
      if (!isCode(error, 'vault-full')) throw error
      return false
    }
    await this.#sealFull()
    return true
  }

  /** The batch that begins at `first`, which is held here. Reading on in order is quick. */
  async read(first: Sequence): Promise<SpooledBatch> {
    const { name } = this.#fileOf(first)
    if (this.#reader?.name !== name || this.#reader.next !== first) this.#reader = await this.#readerAt(first)
    return this.#reader.batch()
  }

  /** The batch that ends at `last`, or undefined where none does. Reads a whole file: not for every day. */
  async endingAt(last: Sequence): Promise<SpooledBatch | undefined> {
    const file = this.#files.find((one) => one.first <= last && last <= one.last)
    if (!file) return undefined
    const reader = await SpoolReader.open(this.#parts.store, file.name, this.#parts.key, file.first)
    for (;;) {
      const batch = await reader.batch()
      if (batch.last >= last) return batch.last === last ? batch : undefined
    }
  }

  /** Everything up to `durable` is at the vault. */
  async release(durable: Sequence): Promise<void> {
    for (let file = this.#files[0]; file && file.last <= durable; file = this.#files[0]) await this.#remove(file)
  }

  /** Forgets all. */
  async drop(): Promise<void> {
    for (let file = this.#files[0]; file; file = this.#files[0]) await this.#remove(file)
  }

  async #remove(file: SpoolFile): Promise<void> {
    if (this.#writer?.name === file.name) {
      await this.#writer[Symbol.asyncDispose]()
      this.#writer = undefined
    }
    if (this.#files.shift() !== file) assert(false, 'spool files go in order')
    await this.#parts.store.remove(file.name)
  }

  async #hasRoom(bytes: number): Promise<boolean> {
    const { store, bytesMax, freeMin } = this.#parts
    if (this.bytes + bytes > bytesMax) return false
    const reserve = freeMin ?? Math.max(freeBytesMin, (await store.capacity()) * freePartMin)
    return (await store.free()) - bytes >= reserve
  }

  async #begin({ first }: SpooledBatch): Promise<SealedWriter> {
    const { source, key } = this.#parts
    const name = `${formatSequence(first)}${suffix}`
    const header = { kind: 'spool', owner: source, number: first, first, before: noHash } as const
    const writer = await createSealed(this.#parts, name, key, header)
    this.#files.push({ name, first, last: advance(first, -1), bytes: writer.bytes })
    return writer
  }

  /** Without room for the seal the file stays as it is; it is sealed when it is next opened. */
  async #sealFull(): Promise<void> {
    const writer = this.#writer
    if (!writer || writer.bytes < spoolFileBytesMax) return
    try {
      await writer.seal(this.end)
      this.#writer = undefined
    } catch (error) {
      await this.#giveUpWriter()
      if (!isCode(error, 'vault-full')) throw error
    }
  }

  /** The file ends where it was last durable; what comes next goes to a new one. */
  async #giveUpWriter(): Promise<void> {
    const writer = this.#writer
    const file = this.#files.at(-1)
    if (!writer || !file) return
    this.#writer = undefined
    await writer[Symbol.asyncDispose]()
    await this.#parts.store.truncate(file.name, writer.synced)
    if (file.last < file.first) {
      this.#files.pop()
      await this.#parts.store.remove(file.name)
    }
  }

  #fileOf(at: Sequence): SpoolFile {
    const file = this.#files.find(({ first, last }) => first <= at && at <= last)
    assert(file !== undefined, `the spool holds sequence ${at}`)
    return file
  }

  async #readerAt(first: Sequence): Promise<SpoolReader> {
    const file = this.#fileOf(first)
    const reader = await SpoolReader.open(this.#parts.store, file.name, this.#parts.key, file.first)
    while (reader.next < first) await reader.batch()
    if (reader.next !== first) throw damaged(file.name, 0, `no batch begins at ${first}`)
    return reader
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer?.[Symbol.asyncDispose]()
    this.#writer = undefined
  }
}

const suffix = '.spool'
const headBytes = 25

const bytesOf = ({ blocks, bytes }: SpooledBatch): number =>
  blocks.reduce((sum, block) => sum + block.length + frameRoomBytes, bytes.length + frameRoomBytes)
const frameRoomBytes = 128

/**
 * A file of a process that has ended: its torn tail is cut and it is sealed. Undefined where it holds no whole batch; what
 * is wrong where it is damaged.
 */
async function recovered(store: Store, name: StoreName, key: KeyObject): Promise<SpoolFile | string | undefined> {
  let last = beforeFirst
  try {
    const end = await recoverSealed(store, name, key, {
      each: (frame) => (last = frame.type === 'batch' ? readBatch(frame, []).last : last),
      last: () => last,
    })
    if (end.kind === 'removed' || end.seal.last < end.header.first) return undefined
    return { name, first: end.header.first, last: end.seal.last, bytes: await store.size(name) }
  } catch (error) {
    if (isCode(error, 'damaged') || isCode(error, 'unsupported-format')) return error.message
    throw error
  }
}

function readBatch({ payload }: Frame, blocks: readonly Uint8Array[]): SpooledBatch {
  const reader = new ByteReader(payload)
  const first = sequence(reader.u64())
  const last = sequence(reader.u64())
  const at = moment(reader.u64())
  const bulk = reader.u8() === 1
  return { first, last, moment: at, bulk, blocks, bytes: payload.subarray(headBytes) }
}

/** Reads one file from its beginning on, also while it grows. */
class SpoolReader {
  readonly name: StoreName
  readonly #open: (from: ScanStart | undefined) => FrameScan
  #scan: FrameScan
  #from: ScanStart | undefined
  #next: Sequence

  private constructor(name: StoreName, open: (from: ScanStart | undefined) => FrameScan, next: Sequence) {
    this.name = name
    this.#open = open
    this.#scan = open(undefined)
    this.#next = next
  }

  static async open(store: Store, name: StoreName, key: KeyObject, first: Sequence): Promise<SpoolReader> {
    const reader = await openSealed(store, name, key)
    return new SpoolReader(name, (from) => reader.scan(from), first)
  }

  get next(): Sequence {
    return this.#next
  }

  /** The next batch, which is known to be there. */
  async batch(): Promise<SpooledBatch> {
    const blocks: Uint8Array[] = []
    for (;;) {
      const frame = await this.#frame()
      if (frame.type === 'block') blocks.push(frame.payload)
      if (frame.type !== 'batch') continue
      const batch = readBatch(frame, blocks)
      if (batch.first !== this.#next)
        throw damaged(this.name, frame.at, `a batch begins at ${batch.first}, not ${this.#next}`)
      this.#next = advance(batch.last, 1)
      return batch
    }
  }

  /** A scan that ended where the file ended then is begun again where it ended: the file has grown since. */
  async #frame(): Promise<Frame> {
    let frame = await this.#scan.next()
    if (!frame) {
      this.#scan = this.#open(this.#from)
      frame = await this.#scan.next()
    }
    if (!frame) throw damaged(this.name, this.#from?.at ?? 0, 'batches that were there are gone')
    this.#from = { at: frame.at + frame.bytes, ordinal: frame.ordinal + 1 }
    return frame
  }
}
