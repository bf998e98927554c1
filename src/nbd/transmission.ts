import { assert } from '../base/assert.ts'
import { Malformed } from '../base/bytes.ts'
import { messageOf } from '../base/errors.ts'
import type { Answer, Export, ExportExtent, ExportRequest, NbdError } from './export.ts'
import type { HeldMemory, Holder } from './held-memory.ts'
import { type Intake, pieceBytesMax } from './intake.ts'
import { allocationId } from './negotiation.ts'
import { command, commandFlag, extentsMax, payloadBytesMax } from './numbers.ts'
import type { Outlet } from './outlet.ts'
import {
  dataChunkBytes,
  encodeBlockStatus,
  putDataChunk,
  putEmptyChunk,
  putErrorChunk,
  putSimpleError,
  putSimpleReply,
  simpleReplyBytes,
} from './replies.ts'
import { type Agreed, cookieAt, cookieBytes, payloadBytes, refusalOf, RequestHeader, requestBytes } from './requests.ts'

/** Requests of one connection that are not answered yet; at the limit its socket is not read. */
export const unansweredMax = 4096
/** Data of writes and reads of one connection that are unanswered or unsent, unless a single one is all there is. */
export const heldBytesMax = payloadBytesMax

/** Who runs a transmission. */
export interface TransmissionSeam {
  /** Whether more is to be read from the socket. */
  readonly reads: (isWanted: boolean) => void
  /** Everything that was taken is answered, and nothing more will be taken. */
  readonly finished: () => void
  readonly isClientGone: () => boolean
  /** The client has sent what is not of the protocol; nothing can be understood after it. */
  readonly refused: (reason: string) => void
  /** Something that the client has no word for. */
  readonly noted: (message: string) => void
}

/**
 * Requests and replies of one connection, after the handshake. All whole requests that have come go to the export in one call;
 * what it answers before it returns goes out in one write, and so does what it answers later in one turn.
 */
export class Transmission implements Holder {
  readonly agreed: Agreed
  readonly #export: Export
  readonly #intake: Intake
  readonly outlet: Outlet
  readonly #seam: TransmissionSeam
  readonly #header = new RequestHeader()
  readonly #memory: HeldMemory
  /** The write whose data is being received, or the refused request whose data is being dropped. */
  #incoming: Asked | undefined
  #unanswered = 0
  #unansweredBytes = 0
  #isHeldBack = false
  #isGoing = false
  #isSending = false
  #ending: 'no' | 'disconnect' | 'shutdown' = 'no'
  /** Nothing is taken any more. */
  #isFinished = false

  constructor(agreed: Agreed, intake: Intake, outlet: Outlet, memory: HeldMemory, seam: TransmissionSeam) {
    this.agreed = agreed
    this.#export = agreed.export
    this.#intake = intake
    // Of the handshake.
    intake.giveAllBack()
    this.outlet = outlet
    this.#memory = memory
    this.#seam = seam
    memory.join(this)
  }

  get heldBytes(): number {
    return this.#unansweredBytes + this.outlet.unsentBytes
  }

  /** Bytes have come. */
  go(): void {
    if (this.#isGoing || this.#isFinished) return
    this.#isGoing = true
    try {
      do {
        const batch = this.#takeWhole()
        if (batch.length > 0) this.#export.take(batch)
        this.outlet.send()
      } while (this.#isHeldBack && this.#hasRoom(this.#header))
    } catch (error) {
      if (!(error instanceof Malformed)) throw error
      return this.#seam.refused(error.message)
    }
    this.#isGoing = false
    this.#seam.reads(!this.#isHeldBack)
    this.#memory.freed()
    this.#finishIfDone()
  }

  /** Replies have gone out. */
  drained(): void {
    this.goOn()
    this.#memory.freed()
  }

  /**
   * There may be room again for what was held back. A client that has hung up meanwhile may have sent it again over another
   * connection, and newer things after it: then it is not taken.
   */
  goOn(): void {
    if (!this.#isHeldBack || !this.#hasRoom(this.#header) || this.#isFinished) return
    if (this.#seam.isClientGone()) this.end('disconnect')
    else this.go()
  }

  /** Answers what was taken, and takes no more: the client is leaving, or the server, which says so to requests that still come. */
  end(ending: 'disconnect' | 'shutdown'): void {
    if (this.#ending !== 'disconnect') this.#ending = ending
    if (ending === 'disconnect') this.#takeNoMore()
    this.#finishIfDone()
  }

  /** Takes no more, and says no more: the socket is closed. What the export has not answered is held until it does. */
  abandon(): void {
    this.#isFinished = true
    this.#takeNoMore()
    this.#leaveIfDone()
  }

  #takeNoMore(): void {
    const incoming = this.#incoming
    if (incoming !== undefined) {
      this.#incoming = undefined
      this.#unanswered--
      this.#unansweredBytes -= incoming.held
    }
    this.#isHeldBack = false
    this.#memory.asksNoMore(this)
  }

  #leaveIfDone(): void {
    if (this.#isFinished && this.#unanswered === 0) this.#memory.leave(this)
  }

  /** The whole requests that have come, as far as there is room for them. */
  #takeWhole(): ExportRequest[] {
    const batch: ExportRequest[] = []
    const intake = this.#intake
    this.#isHeldBack = false
    if (this.#unanswered === 0) this.outlet.rewind()
    for (;;) {
      if (this.#incoming !== undefined) {
        if (!this.#completeIncoming(this.#incoming, batch)) return batch
        this.#incoming = undefined
      }
      if (this.#ending === 'disconnect' || intake.available < requestBytes) return batch
      const header = this.#header
      if (!header.read(intake.buffer, intake.from)) throw new Malformed('a request does not begin like one')
      if (header.command === command.disconnect) {
        this.#ending = 'disconnect'
        return batch
      }
      if (!this.#hasRoom(header)) {
        this.#isHeldBack = true
        return batch
      }
      const payload = payloadBytes(header)
      const refusal = this.#ending === 'shutdown' ? 'ESHUTDOWN' : refusalOf(header, this.agreed)
      const isLong = payload > pieceBytesMax
      if (refusal === undefined && !isLong && intake.available < requestBytes + payload) return batch
      const asked = this.#ask(header, refusal)
      intake.from += requestBytes
      if (refusal !== undefined) {
        intake.skip(payload)
        this.#incoming = asked
      } else if (payload === 0) this.#put(asked, batch)
      else if (isLong) {
        asked.long = this.#memory.spare.take(payload)
        asked.data = asked.long.subarray(0, payload)
        intake.receiveInto(asked.data)
        this.#incoming = asked
      } else {
        asked.data = intake.take(payload)
        this.#put(asked, batch)
      }
    }
  }

  /** Whether the data of this request have come, or gone; then it is in the batch, or answered. */
  #completeIncoming(asked: Asked, batch: ExportRequest[]): boolean {
    if (asked.refusal !== undefined) {
      if (this.#intake.isSkipping) return false
      asked.failed(asked.refusal)
      return true
    }
    if (this.#intake.filled() === undefined) return false
    this.#put(asked, batch)
    return true
  }

  #hasRoom(header: RequestHeader): boolean {
    if (this.#unanswered >= unansweredMax) return false
    const held = this.heldBytes
    const needed = heldBytes(header)
    return (held === 0 || held + needed <= heldBytesMax) && this.#memory.mayHold(this, needed)
  }

  /** A request with a place for its reply. */
  #ask(header: RequestHeader, refusal: NbdError | undefined): Asked {
    const { outlet, agreed } = this
    const { buffer, from } = this.#intake
    const isRead = header.command === command.read
    const hasData = isRead && refusal === undefined
    const isChunk = isRead && agreed.isStructured
    const headBytes = isChunk ? dataChunkBytes : simpleReplyBytes
    const replyBytes = headBytes + (hasData ? header.bytes : 0)
    outlet.reserve(replyBytes)
    const { place, placeAt } = outlet
    const asked = new Asked(this, header, place, placeAt, replyBytes, isChunk, refusal)
    if (isChunk) putDataChunk(place, placeAt, buffer, from, header)
    else putSimpleReply(place, placeAt, buffer, from)
    if (hasData) asked.into = place.subarray(placeAt + headBytes, placeAt + replyBytes)
    this.#unanswered++
    this.#unansweredBytes += asked.held
    this.#memory.took(this)
    return asked
  }

  /** To the export, unless it has nothing to do with it. */
  #put(asked: Asked, batch: ExportRequest[]): void {
    if (asked.kind === 'status') void this.#tellExtents(asked)
    else if (asked.bytes === 0 && asked.kind !== 'flush') asked.done()
    else batch.push(asked as ExportRequest)
  }

  async #tellExtents(asked: Asked): Promise<void> {
    const cookie = Buffer.from(asked.place.subarray(asked.placeAt + cookieAt, asked.placeAt + cookieAt + cookieBytes))
    try {
      const { at, bytes, flags } = asked
      const extents = (await this.#export.extents?.(at, bytes)) ?? [{ at, bytes, is: 'data' }]
      const isOne = (flags & commandFlag.oneExtent) !== 0
      const told = clipExtents(extents, at, bytes, isOne ? 1 : extentsMax)
      asked.doneWith(encodeBlockStatus(cookie, allocationId, told))
    } catch (error) {
      this.#seam.noted(`the blocks of the export "${this.#export.name}" could not be told: ${messageOf(error)}`)
      asked.failed('EIO')
    }
  }

  /** A reply is ready: `bytes` at a place. Called by what was asked, once. */
  answered(asked: Asked, place: Buffer, from: number, bytes: number): void {
    this.#unanswered--
    this.#unansweredBytes -= asked.held
    if (asked.long !== undefined) this.#memory.spare.keep(asked.long)
    else if (asked.data.length > 0) this.#intake.giveBack()
    this.outlet.add(place, from, from + bytes)
    if (this.#isGoing || this.#isSending) return
    this.#isSending = true
    queueMicrotask(() => {
      this.#isSending = false
      this.outlet.send()
      if (this.#isHeldBack) this.goOn()
      this.#memory.freed()
      this.#leaveIfDone()
      this.#finishIfDone()
    })
  }

  #finishIfDone(): void {
    if (this.#ending === 'no' || this.#isFinished || this.#unanswered > 0) return
    this.abandon()
    this.#seam.finished()
  }
}

const heldBytes = (header: { readonly command: number; readonly bytes: number }): number =>
  header.command === command.read || header.command === command.write ? Math.min(header.bytes, payloadBytesMax) : 0

const kinds: Readonly<Record<number, ExportRequest['kind'] | 'status'>> = {
  [command.read]: 'read',
  [command.write]: 'write',
  [command.flush]: 'flush',
  [command.trim]: 'trim',
  [command.zero]: 'zero',
  [command.blockStatus]: 'status',
}

const nothing = Buffer.alloc(0)

/** A request that was put to the export, and how it is answered. One object, because there are many. */
class Asked implements Answer {
  readonly #transmission: Transmission
  readonly kind: ExportRequest['kind'] | 'status' | undefined
  readonly at: number
  readonly bytes: number
  readonly flags: number
  readonly held: number
  readonly refusal: NbdError | undefined
  readonly place: Buffer
  readonly placeAt: number
  readonly #replyBytes: number
  readonly #isChunk: boolean
  data: Buffer = nothing
  /** What the data of a long write stand in, to be used again after the answer. */
  long: Buffer | undefined = undefined
  into: Buffer = nothing
  #isAnswered = false

  constructor(
    transmission: Transmission,
    header: RequestHeader,
    place: Buffer,
    placeAt: number,
    replyBytes: number,
    isChunk: boolean,
    refusal: NbdError | undefined,
  ) {
    this.#transmission = transmission
    this.kind = kinds[header.command]
    this.at = header.at
    this.bytes = header.bytes
    this.flags = header.flags
    this.held = refusal === undefined ? heldBytes(header) : 0
    this.refusal = refusal
    this.place = place
    this.placeAt = placeAt
    this.#replyBytes = replyBytes
    this.#isChunk = isChunk
  }

  get answer(): Answer {
    return this
  }

  get isForced(): boolean {
    return (this.flags & commandFlag.forced) !== 0
  }

  get mayMakeHole(): boolean {
    return (this.flags & commandFlag.noHole) === 0
  }

  done(): void {
    // A chunk of data holds a byte at least.
    if (this.#isChunk && this.bytes === 0) putEmptyChunk(this.place, this.placeAt)
    this.#answer(this.place, this.placeAt, this.#isChunk && this.bytes === 0 ? dataChunkBytes - 8 : this.#replyBytes)
  }

  doneWith(reply: Buffer): void {
    this.#answer(reply, 0, reply.length)
  }

  failed(error: NbdError): void {
    if (this.#isChunk) return this.#answer(this.place, this.placeAt, putErrorChunk(this.place, this.placeAt, error))
    putSimpleError(this.place, this.placeAt, error)
    this.#answer(this.place, this.placeAt, simpleReplyBytes)
  }

  #answer(place: Buffer, from: number, bytes: number): void {
    assert(!this.#isAnswered, 'a request is answered once')
    this.#isAnswered = true
    this.#transmission.answered(this, place, from, bytes)
  }
}

/** At most `count` extents, neighbours of one kind as one, none of them past what was asked for. */
function clipExtents(extents: readonly ExportExtent[], at: number, bytes: number, count: number): ExportExtent[] {
  const told: { at: number; bytes: number; is: ExportExtent['is'] }[] = []
  let end = at
  for (const extent of extents) {
    assert(extent.at === end && extent.bytes > 0, 'extents follow each other')
    const last = told.at(-1)
    const length = Math.min(extent.bytes, at + bytes - end)
    if (length === 0) break
    if (last?.is === extent.is) last.bytes += length
    else if (told.length === count) break
    else told.push({ at: end, bytes: length, is: extent.is })
    end += length
  }
  assert(told.length > 0, 'something is known of the first byte')
  return told
}
