import { Malformed } from '../base/bytes.ts'
import type { Chosen } from './client-negotiation.ts'
import type { ExportExtent } from './export.ts'
import type { Intake } from './intake.ts'
import {
  chunkFlag,
  chunkMagic,
  chunkType,
  command,
  errorOfNumber,
  extentsMax,
  simpleReplyMagic,
  textBytesMax,
} from './numbers.ts'
import { NbdRefused } from './refused.ts'
import { chunkHeaderBytes, dataChunkBytes, decodeBlockStatus, decodeErrorChunk, simpleReplyBytes } from './replies.ts'
import { cookieAt } from './requests.ts'

/** Of a payload that is not data. */
const toldBytesMax = Math.max(4 + 8 * extentsMax, 14 + textBytesMax)
/** Of one reply. A server cuts a read by what it knows of it, in pieces of 4 KiB at the least. */
const chunksMax = 16_384

/** What a reply is for. */
export interface Replied {
  readonly command: number
  readonly at: number
  readonly bytes: number
  /** Of a read. */
  readonly into: Buffer | undefined
}

export interface ReplySeam {
  readonly find: (cookie: number) => Replied | undefined
  /** A reply has come whole. The extents are those of BLOCK_STATUS. */
  readonly finished: (cookie: number, outcome: readonly ExportExtent[] | NbdRefused) => void
}

/** Of a reply that has begun: what its chunks have said so far. */
interface Begun {
  refused: NbdRefused | undefined
  extents: readonly ExportExtent[]
  readonly filled: { readonly from: number; readonly to: number }[]
  chunks: number
}

/** Reads the replies of a server, simple and structured ones; what is not of the protocol is `Malformed`. */
export class ReplyReader {
  readonly #intake: Intake
  readonly #chosen: Chosen
  readonly #seam: ReplySeam
  readonly #begun = new Map<number, Begun>()
  /** Whose data are being received, and whether they are the last of it. */
  #receiving: { readonly cookie: number; readonly isLast: boolean } | undefined

  constructor(intake: Intake, chosen: Chosen, seam: ReplySeam) {
    this.#intake = intake
    this.#chosen = chosen
    this.#seam = seam
  }

  /** Bytes have come. */
  go(): void {
    const intake = this.#intake
    for (;;) {
      if (this.#receiving !== undefined) {
        if (intake.filled() === undefined) return
        const { cookie, isLast } = this.#receiving
        this.#receiving = undefined
        if (isLast) this.#finish(cookie)
        continue
      }
      if (intake.available < simpleReplyBytes) return
      const magic = intake.buffer.readUInt32BE(intake.from)
      if (magic === simpleReplyMagic) this.#simple()
      else if (magic !== chunkMagic || !this.#chosen.isStructured)
        throw new Malformed('a reply does not begin like one')
      else if (!this.#chunk()) return
    }
  }

  #simple(): void {
    const { buffer, from } = this.#intake
    const error = buffer.readUInt32BE(from + 4)
    const cookie = this.#cookie(from)
    const asked = this.#find(cookie)
    if (this.#begun.has(cookie)) throw new Malformed('a simple reply among the chunks of a structured one')
    if (this.#chosen.isStructured && asked.command === command.read)
      throw new Malformed('a simple reply to a read, where structured ones were agreed on')
    this.#intake.from += simpleReplyBytes
    if (error !== 0) this.#seam.finished(cookie, new NbdRefused(errorOfNumber(error), ''))
    else if (asked.command === command.blockStatus) throw new Malformed('blocks are told by a simple reply')
    else if (asked.into === undefined || asked.bytes === 0) this.#seam.finished(cookie, [])
    else this.#receive(cookie, asked.into, true)
  }

  /** False when it has not come far enough. */
  #chunk(): boolean {
    const intake = this.#intake
    const { buffer, from } = intake
    if (intake.available < chunkHeaderBytes) return false
    const isLast = (buffer.readUInt16BE(from + 4) & chunkFlag.done) !== 0
    const type = buffer.readUInt16BE(from + 6)
    const cookie = this.#cookie(from)
    const length = buffer.readUInt32BE(from + 16)
    const asked = this.#find(cookie)
    if (type === chunkType.data) {
      if (intake.available < dataChunkBytes) return false
      const at = this.#offset(from + chunkHeaderBytes)
      const into = partOf(asked, this.#begin(cookie), at, length - 8)
      intake.from += dataChunkBytes
      this.#receive(cookie, into, isLast)
      return true
    }
    if (length > toldBytesMax) throw new Malformed(`a chunk of type ${type} with ${length} bytes`)
    if (intake.available < chunkHeaderBytes + length) return false
    intake.from += chunkHeaderBytes
    this.#tell(asked, this.#begin(cookie), type, intake.take(length))
    if (isLast) this.#finish(cookie)
    return true
  }

  #tell(asked: Replied, begun: Begun, type: number, payload: Buffer): void {
    if (type === chunkType.none) {
      if (payload.length > 0) throw new Malformed('an empty chunk with a payload')
    } else if (type === chunkType.hole) {
      if (payload.length !== 12) throw new Malformed(`a hole told in ${payload.length} bytes`)
      const at = payload.readUInt32BE(0) * 0x1_0000_0000 + payload.readUInt32BE(4)
      partOf(asked, begun, at, payload.readUInt32BE(8)).fill(0)
    } else if (type === chunkType.blockStatus) {
      if (asked.command !== command.blockStatus) throw new Malformed('blocks are told that were not asked for')
      const { context, extents } = decodeBlockStatus(payload, asked.at)
      if (context === this.#chosen.allocationId) begun.extents = extents
    } else if (type >= 2 ** 15) {
      const { error, message } = decodeErrorChunk(payload, type)
      begun.refused ??= new NbdRefused(error, message)
    } else throw new Malformed(`a chunk of type ${type}`)
  }

  #receive(cookie: number, into: Buffer, isLast: boolean): void {
    this.#receiving = { cookie, isLast }
    this.#intake.receiveInto(into)
  }

  #finish(cookie: number): void {
    const begun = this.#begun.get(cookie)
    this.#begun.delete(cookie)
    const asked = this.#find(cookie)
    if (begun?.refused !== undefined) return this.#seam.finished(cookie, begun.refused)
    if (begun !== undefined && asked.command === command.read) {
      const filledBytes = begun.filled.reduce((sum, { from, to }) => sum + to - from, 0)
      if (filledBytes !== asked.bytes) throw new Malformed('a read is answered in part')
    }
    if (asked.command === command.blockStatus && begun?.extents.length === 0)
      throw new Malformed('nothing is told of the blocks asked for')
    this.#seam.finished(cookie, begun?.extents ?? [])
  }

  #begin(cookie: number): Begun {
    let begun = this.#begun.get(cookie)
    if (begun === undefined) {
      begun = { refused: undefined, extents: [], filled: [], chunks: 0 }
      this.#begun.set(cookie, begun)
    }
    if (++begun.chunks > chunksMax) throw new Malformed('a reply in too many chunks')
    return begun
  }

  #find(cookie: number): Replied {
    const asked = this.#seam.find(cookie)
    if (asked === undefined) throw new Malformed('a reply to nothing that was asked')
    return asked
  }

  #cookie(from: number): number {
    const { buffer } = this.#intake
    if (buffer.readUInt32BE(from + cookieAt) !== 0) throw new Malformed('a reply to nothing that was asked')
    return buffer.readUInt32BE(from + cookieAt + 4)
  }

  #offset(at: number): number {
    const { buffer } = this.#intake
    return buffer.readUInt32BE(at) * 0x1_0000_0000 + buffer.readUInt32BE(at + 4)
  }
}

/** Where these bytes of a read belong; each byte is told once. */
function partOf(asked: Replied, { filled }: Begun, at: number, bytes: number): Buffer {
  if (asked.command !== command.read || asked.into === undefined) throw new Malformed('data that were not asked for')
  const from = at - asked.at
  const to = from + bytes
  if (!(bytes > 0 && from >= 0 && to <= asked.bytes)) throw new Malformed('data outside of what was asked for')
  if (filled.some((other) => from < other.to && other.from < to)) throw new Malformed('bytes that are told twice')
  const last = filled.at(-1)
  if (last?.to === from) filled[filled.length - 1] = { from: last.from, to }
  else filled.push({ from, to })
  return asked.into.subarray(from, to)
}
