import { Malformed } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { type ErrorCode, errorCodes, TidemarkError } from '../base/errors.ts'
import { moment } from '../model/moment.ts'
import { frameBytesMax, FrameReader } from './frames.ts'
import { lingerMs, type Link } from './link.ts'
import { type Message, messageParts, readMessage } from './messages.ts'

export const heartbeatMs = 2000
/** A peer that has sent nothing for so long is gone. */
export const silenceMsMax = 10_000
/** From the connection to the hello, and from the hello to the welcome or refusal. */
export const greetingMsMax = 10_000

/** How far the peer's clock is ahead of ours, from the exchange with the shortest round trip so far. */
export interface ClockOffset {
  readonly aheadMs: number
  readonly roundTripMs: number
}

/** What both ends of a connection do alike: whole messages, signs of life, the clocks, the refusal. */
export class Conversation {
  readonly #link: Link
  readonly #clock: Clock
  readonly #reader: FrameReader
  #heardAt: number
  #readingPaused = false
  #pong: { asked: number } | undefined
  #pongUnderWay = false
  clockOffset: ClockOffset | undefined

  constructor(link: Link, clock: Clock) {
    this.#link = link
    this.#clock = clock
    this.#heardAt = clock.monotonicMs()
    this.#reader = new FrameReader(link.received, () => (this.#heardAt = clock.monotonicMs()))
  }

  /** Resolves when there is room for more. Messages go out in order of the calls. */
  send(message: Message): Promise<void> {
    return this.#link.send(messageParts(message))
  }

  /** From here on, frames of the full length are taken. */
  accepted(): void {
    this.#reader.bytesMax = frameBytesMax
  }

  /**
   * The next message that is not a sign of life; undefined once the peer has closed in order. A refusal by the peer
   * rejects with its error; bytes that are no message reject with `protocol-violation`.
   */
  async receive(): Promise<Message | undefined> {
    for (;;) {
      const message = await this.#next()
      switch (message?.kind) {
        case 'ping':
          this.#answer(message.now)
          break
        case 'pong':
          this.#measure(message.asked, message.now)
          break
        case 'refuse':
          throw refusal(message)
        default:
          return message
      }
    }
  }

  async #next(): Promise<Message | undefined> {
    try {
      const frame = await this.#reader.next()
      return frame && readMessage(frame)
    } catch (error) {
      throw asViolation(error)
    }
  }

  /** The greeting: one message within `greetingMsMax`. */
  async greeting(signal: AbortSignal): Promise<Message | undefined> {
    const inside = new AbortController()
    const late = this.#clock.sleep(greetingMsMax, AbortSignal.any([signal, inside.signal])).then(() => {
      throw new TidemarkError('unreachable', { message: `no greeting within ${greetingMsMax / 1000} s` })
    })
    try {
      return await Promise.race([this.receive(), late])
    } finally {
      inside.abort()
      late.catch(() => undefined)
    }
  }

  /** While reading is paused by our own wish, silence is not the peer's. */
  pauseReading(paused: boolean): void {
    this.#readingPaused = paused
    this.#heardAt = this.#clock.monotonicMs()
  }

  /**
   * Sends signs of life, together with what `beat` sends; rejects with `unreachable` when the peer gives none. A line
   * that takes nothing is judged by what arrives, so a sending is not waited for, and not repeated while under way.
   */
  async heartbeat(signal: AbortSignal, beat: () => Promise<void> = async () => undefined): Promise<void> {
    let sending: Promise<void> | undefined
    for (;;) {
      const silenceMs = this.#clock.monotonicMs() - this.#heardAt
      if (!this.#readingPaused && silenceMs > silenceMsMax) {
        throw new TidemarkError('unreachable', { message: `the peer was silent for ${Math.round(silenceMs / 1000)} s` })
      }
      sending ??= Promise.all([this.send({ kind: 'ping', now: moment(this.#clock.now()) }), beat()]).then(() => {
        sending = undefined
      })
      await Promise.race([sending, this.#clock.sleep(heartbeatMs, signal)])
      await this.#clock.sleep(heartbeatMs, signal)
    }
  }

  /** Tells the peer why, then closes in order. */
  async refuse(error: TidemarkError): Promise<void> {
    const { code, message, hint } = error
    const sent = this.send({ kind: 'refuse', code, message, hint }).catch(() => undefined)
    await Promise.race([sent, this.#clock.sleep(lingerMs)])
    await this.#link[Symbol.asyncDispose]()
  }

  /** At most one pong is under way: a peer that asks faster than it reads gets fewer answers, not our memory. */
  #answer(asked: number): void {
    this.#pong = { asked }
    if (this.#pongUnderWay) return
    this.#pongUnderWay = true
    const answer = async (): Promise<void> => {
      while (this.#pong) {
        const { asked: of } = this.#pong
        this.#pong = undefined
        await this.send({ kind: 'pong', asked: moment(of), now: moment(this.#clock.now()) })
      }
      this.#pongUnderWay = false
    }
    // A connection that is gone shows itself to the reader.
    answer().catch(() => undefined)
  }

  #measure(asked: number, peerNow: number): void {
    const now = this.#clock.now()
    const roundTripMs = (now - asked) / 1000
    if (roundTripMs < 0 || (this.clockOffset && roundTripMs > this.clockOffset.roundTripMs)) return
    this.clockOffset = { aheadMs: (peerNow - (asked + now) / 2) / 1000, roundTripMs }
  }
}

/** The error a peer told us. A code that this version does not know is kept in the message. */
function refusal(told: { code: string; message: string; hint?: string | undefined }): TidemarkError {
  const known = Object.hasOwn(errorCodes, told.code)
  const message = known ? told.message : `${told.message} (${told.code})`
  const code = known ? (told.code as ErrorCode) : 'not-allowed'
  return new RefusedByPeer(code, told.hint === undefined ? { message } : { message, hint: told.hint })
}

/** A refusal that came from the peer: there is nobody to tell. */
export class RefusedByPeer extends TidemarkError {}

const asViolation = (error: unknown): unknown => (error instanceof Malformed ? violation(error.message, error) : error)

export const violation = (what: string, cause?: unknown): TidemarkError =>
  new TidemarkError('protocol-violation', {
    message: `the peer sent what is not of the protocol: ${what}`,
    hint: 'check that both ends are Tidemark, of versions that fit, and that nothing between them changes bytes',
    cause,
  })
