import { createHash, type Hash, type KeyObject } from 'node:crypto'
import { Malformed } from '../base/bytes.ts'
import {
  decodeFrame,
  decodeFrameHead,
  decodeHeader,
  decodeSeal,
  frameHeadBytes,
  frameMagic,
  frameOverheadBytes,
  type FrameType,
  headerBytes,
  isClosing,
  type Seal,
  type SealedHeader,
  sealFrameBytes,
} from '../format/sealed-file.ts'
import { giveBack } from '../base/give-back.ts'
import { damaged, readStored } from './damaged.ts'
import type { Store, StoreName } from './store.ts'

export interface Frame {
  readonly type: FrameType
  readonly ordinal: number
  readonly at: number
  /** Of the whole frame, from its head to its tag. */
  readonly bytes: number
  readonly payload: Buffer
}

/** Where a scan starts: at the first frame, or at a frame whose place is known. */
export interface ScanStart {
  readonly at: number
  readonly ordinal: number
}

const firstFrame: ScanStart = { at: headerBytes, ordinal: 0 }
const readAheadBytes = 1024 * 1024

/** How a scan ended: at a seal, or where a file that is not sealed holds no more whole frames. */
export type ScanEnd =
  | {
      readonly kind: 'sealed'
      readonly seal: Seal
      /** Undefined where the scan began midway. */ readonly chain?: Buffer
    }
  | { readonly kind: 'open'; readonly torn: boolean }

/** Opens a sealed file, whole or still growing; its header is authenticated under the owner's key. */
export async function openSealed(store: Store, name: StoreName, owner: KeyObject): Promise<SealedReader> {
  const bytes = await store.read(name, 0, headerBytes)
  const { header, key } = readStored(name, 0, () => decodeHeader(bytes, owner))
  return new SealedReader(store, name, header, key)
}

/** Reads frames; every byte is authenticated before it is given out. Anything wrong is `damaged`. */
export class SealedReader {
  readonly name: StoreName
  readonly header: SealedHeader
  readonly #store: Store
  readonly #key: KeyObject

  constructor(store: Store, name: StoreName, header: SealedHeader, key: KeyObject) {
    this.#store = store
    this.name = name
    this.header = header
    this.#key = key
  }

  get key(): KeyObject {
    return this.#key
  }

  /** Present length of the file. */
  size(): Promise<number> {
    return this.#store.size(this.name)
  }

  /** One frame whose place is known. */
  async frame(at: number, bytes: number): Promise<Frame> {
    const read = await this.#store.read(this.name, at, bytes)
    const { type, ordinal, payload } = readStored(this.name, at, () => decodeFrame(read, this.#key))
    giveBack(read)
    return { type, ordinal, at, bytes, payload }
  }

  /** The seal of a file that is whole to its end by its own account, or undefined for one that is not sealed. */
  async seal(): Promise<Seal | undefined> {
    const size = await this.#store.size(this.name)
    const at = size - sealFrameBytes
    if (at < headerBytes) return undefined
    const bytes = await this.#store.read(this.name, at, sealFrameBytes)
    return asSeal(bytes, this.#key, at)
  }

  /**
   * The frames in order, without the seal. In a file that is not sealed they end where the tail is torn; a bad frame
   * before bytes that are known to have been durable is damage (as is less than `floor` bytes of whole frames).
   */
  async *frames(start: ScanStart = firstFrame, floor = 0): AsyncGenerator<Frame, void> {
    const scan = this.scan(start, floor)
    for (let frame = await scan.next(); frame; frame = await scan.next()) yield frame
  }

  scan(start: ScanStart = firstFrame, floor = 0): FrameScan {
    return new FrameScan(this.#store, this, start, floor)
  }
}

const asSeal = (bytes: Buffer, key: KeyObject, at: number): Seal | undefined => {
  try {
    const { type, ordinal, payload } = decodeFrame(bytes, key)
    if (type !== 'seal') return undefined
    const seal = decodeSeal(payload)
    return seal.bytes === at && seal.frames === ordinal ? seal : undefined
  } catch (error) {
    if (error instanceof Malformed) return undefined
    throw error
  }
}

/** One pass over the frames of a file, reading ahead; holds at most a piece and the largest frame. */
export class FrameScan {
  readonly #store: Store
  readonly #file: SealedReader
  readonly #floor: number
  readonly #hash: Hash | undefined
  #at: number
  #ordinal: number
  #held: Buffer = Buffer.alloc(0)
  #heldAt: number
  #lastFrameAt = 0
  #beforeClosing: DataEnd | undefined
  #end: ScanEnd | undefined

  constructor(store: Store, file: SealedReader, start: ScanStart, floor: number) {
    this.#store = store
    this.#file = file
    this.#floor = floor
    this.#at = start.at
    this.#heldAt = start.at
    this.#ordinal = start.ordinal
    this.#hash = start.at === headerBytes ? createHash('sha256') : undefined
  }

  /** Undefined until the scan has ended. */
  get end(): ScanEnd | undefined {
    return this.#end
  }

  /** Where the frames seen so far end, leaving out closing frames. Only of a scan from the first frame. */
  get dataEnd(): DataEnd {
    return this.#beforeClosing ?? this.#dataEndHere()
  }

  #dataEndHere(): DataEnd {
    if (!this.#hash) throw new Error('broken invariant: only a scan from the first frame knows the hash')
    const hash = this.#hash.copy()
    return { at: this.#at, ordinal: this.#ordinal, lastFrameAt: this.#lastFrameAt, hash }
  }

  /** The next frame; undefined at the end. */
  async next(): Promise<Frame | undefined> {
    if (this.#end) return undefined
    if (this.#at === headerBytes && this.#hash)
      this.#hash.update(await this.#store.read(this.#file.name, 0, headerBytes))
    for (;;) {
      const at = this.#at
      const found = await this.#frameAt(at)
      if (found instanceof Malformed) {
        if (!(await this.#endsAt(at, found))) continue
        this.#end = { kind: 'open', torn: (await this.#cover(at, 1)).length > 0 }
        return undefined
      }
      const { frame, raw } = found
      if (frame.type === 'seal') {
        this.#end = await this.#sealed(frame)
        return undefined
      }
      if (isClosing(frame.type)) this.#beforeClosing ??= this.#hash ? this.#dataEndHere() : undefined
      this.#hash?.update(raw)
      this.#at += frame.bytes
      this.#ordinal++
      this.#lastFrameAt = at
      return frame
    }
  }

  async #frameAt(at: number): Promise<{ frame: Frame; raw: Buffer } | Malformed> {
    try {
      const { payloadBytes, ordinal } = decodeFrameHead(await this.#cover(at, frameHeadBytes))
      if (ordinal !== this.#ordinal) throw new Malformed(`frame ${ordinal} where frame ${this.#ordinal} is due`)
      const bytes = frameOverheadBytes + payloadBytes
      const raw = await this.#cover(at, bytes)
      const { type, payload } = decodeFrame(raw, this.#file.key)
      return { frame: { type, ordinal, at, bytes, payload }, raw }
    } catch (error) {
      if (error instanceof Malformed) return error
      throw error
    }
  }

  async #sealed({ at, bytes, ordinal, payload }: Frame): Promise<ScanEnd> {
    const { name } = this.#file
    const seal = readStored(name, at, () => decodeSeal(payload))
    const raw = await this.#cover(at, bytes)
    if (seal.bytes !== at || seal.frames !== ordinal) throw damaged(name, at, 'the seal is that of another length')
    if (this.#hash && !this.#hash.copy().digest().equals(seal.hash)) {
      throw damaged(name, at, 'the seal is that of other bytes')
    }
    this.#hash?.update(raw)
    if ((await this.#cover(at + bytes, 1)).length > 0) throw damaged(name, at + bytes, 'bytes follow the seal')
    return this.#hash ? { kind: 'sealed', seal, chain: this.#hash.digest() } : { kind: 'sealed', seal }
  }

  /**
   * Decides about a bad frame: true where the file simply ends, possibly torn; false where it is good after all (a file
   * may grow while it is read); damage throws.
   */
  async #endsAt(at: number, reason: Malformed): Promise<boolean> {
    const { name } = this.#file
    const before = await this.#file.seal()
    const evidence = before ? 'the file is sealed' : await this.#durableBeyond(at)
    if (evidence === undefined) return true
    this.#held = Buffer.alloc(0)
    this.#heldAt = at
    if ((await this.#frameAt(at)) instanceof Malformed) {
      throw damaged(name, at, new Malformed(`${reason.message}; ${evidence}`))
    }
    return false
  }

  /** What shows that bytes after `at` were durable once: then they are damaged and not merely torn. */
  async #durableBeyond(at: number): Promise<string | undefined> {
    if (this.#floor > at) return `${this.#floor} bytes of it were durable`
    const { name, key } = this.#file
    const size = await this.#store.size(name)
    // Crafted bytes could make every fourth byte look like a frame: past this much work the answer is the safe one.
    let budget = 4 * size + readAheadBytes
    for (let pieceAt = at + 1; pieceAt + frameHeadBytes <= size; pieceAt += readAheadBytes) {
      const piece = await this.#store.read(name, pieceAt, readAheadBytes + frameHeadBytes)
      for (let found = piece.indexOf(frameMagic); found !== -1; found = piece.indexOf(frameMagic, found + 1)) {
        const later = pieceAt + found
        const head = headAt(piece, found)
        if (!head || head.durable <= at || head.durable > later || head.ordinal <= this.#ordinal) continue
        const bytes = frameOverheadBytes + head.payloadBytes
        if (later + bytes > size) continue
        budget -= bytes
        if (budget < 0) return 'too much after it looks like frames'
        if (isFrame(await this.#store.read(name, later, bytes), key)) return `a whole frame follows at byte ${later}`
      }
    }
    return undefined
  }

  /** `bytes` bytes from `at`, fewer where the file ends. What it gave before is gone. */
  async #cover(at: number, bytes: number): Promise<Buffer> {
    const heldEnd = this.#heldAt + this.#held.length
    if (at < this.#heldAt || at > heldEnd) {
      this.#held = Buffer.alloc(0)
      this.#heldAt = at
    }
    const missing = at + bytes - (this.#heldAt + this.#held.length)
    if (missing > 0) {
      const rest = this.#held.subarray(at - this.#heldAt)
      const piece = await this.#read(at + rest.length, Math.max(missing, readAheadBytes))
      const before = this.#held
      this.#held = rest.length === 0 ? piece : Buffer.concat([rest, piece])
      giveBack(before)
      if (rest.length > 0) giveBack(piece)
      this.#heldAt = at
    }
    return this.#held.subarray(at - this.#heldAt, at - this.#heldAt + bytes)
  }

  #read(at: number, bytes: number): Promise<Buffer> {
    return this.#store.read(this.#file.name, at, bytes)
  }
}

/** Where the frames of a file end that tell something new; closing frames follow from them. */
export interface DataEnd {
  readonly at: number
  readonly ordinal: number
  readonly lastFrameAt: number
  /** Has taken all bytes up to `at`. */
  readonly hash: Hash
}

const headAt = (bytes: Buffer, at: number): ReturnType<typeof decodeFrameHead> | undefined => {
  try {
    return decodeFrameHead(bytes, at)
  } catch (error) {
    if (error instanceof Malformed) return undefined
    throw error
  }
}

const isFrame = (bytes: Buffer, key: KeyObject): boolean => {
  try {
    decodeFrame(bytes, key)
    return true
  } catch (error) {
    if (error instanceof Malformed) return false
    throw error
  }
}

/** SHA-256 of a whole file: the chain hash where it is sealed. */
export async function hashOf(store: Store, name: StoreName): Promise<Buffer> {
  const hash = createHash('sha256')
  for (let at = 0; ;) {
    const piece = await store.read(name, at, readAheadBytes)
    if (piece.length === 0) return hash.digest()
    hash.update(piece)
    at += piece.length
  }
}
