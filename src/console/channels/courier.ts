import type { Clock } from '../../base/clock.ts'
import { isCode, messageOf, TidemarkError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { Tell } from '../../base/tell.ts'
import { Wake } from '../../base/wake.ts'
import type { Moment } from '../../model/moment.ts'
import { languages } from '../language/languages.ts'
import type { ChannelTable, OpenedChannel } from './channel-table.ts'
import { judgeAnswer, requestOf, textBytesMax } from './hooks.ts'
import { sendMail } from './mail.ts'
import { compose, type Message, testMessage, type Told } from './message.ts'
import type { Outbox } from './outbox.ts'
import { post } from './post.ts'

export interface CourierParts {
  readonly channels: ChannelTable
  readonly outbox: Outbox
  readonly clock: Clock
  readonly random: Random
  readonly tell: Tell
  /** Instead of what is right for receivers: for tests. */
  readonly paceMs?: { readonly gather: number; readonly between: number } | undefined
}

/** What comes within this goes as one message, and a channel sends one in this time: robots of groups take 20 a minute. */
const defaultPaceMs = { gather: 2_000, between: 5_000 }
/** How often it is looked whether a pause is over. */
const lookMs = 1_000

/** Takes what waits to its receivers: each channel by itself, so that one that hangs keeps no other waiting. */
export class Courier {
  readonly #parts: CourierParts
  readonly #wake = new Wake()
  readonly #busy = new Map<string, Promise<void>>()
  #failure: { readonly error: unknown } | undefined

  constructor(parts: CourierParts) {
    this.#parts = parts
  }

  /** Something waits, or a channel is another. */
  wake(): void {
    this.#wake.wake()
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, channels } = this.#parts
    try {
      for (;;) {
        for (const { id, enabled, state } of channels.list()) {
          if (!enabled || state.waiting === 0 || this.#busy.has(id)) continue
          this.#busy.set(id, this.#serveInPeace(id, signal))
        }
        if (this.#failure !== undefined) throw this.#failure.error
        const inside = new AbortController()
        const joined = AbortSignal.any([signal, inside.signal])
        const waits = [this.#wake.wait(joined), clock.sleep(lookMs, joined)]
        await Promise.race(waits).finally(() => inside.abort())
        await Promise.allSettled(waits)
      }
    } finally {
      await Promise.allSettled(this.#busy.values())
    }
  }

  /** Sends a message that says it is a test, now, and rejects with what the receiver answers if it does not take it. */
  async test(id: string, signal: AbortSignal): Promise<void> {
    const channel = this.#parts.channels.open(id)
    const { settings } = channel
    await this.#send(channel, testMessage(settings.name, languages[settings.language]), [], `test ${id}`, signal)
  }

  /** Never rejects; what it cannot go on with ends `run`. */
  async #serveInPeace(id: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#serve(id, signal)
    } catch (error) {
      if (!signal.aborted) this.#failure = { error }
    } finally {
      this.#busy.delete(id)
    }
  }

  /** One message of one channel, and the pause after it. */
  async #serve(id: string, signal: AbortSignal): Promise<void> {
    const { channels, outbox, clock, random, tell, paceMs = defaultPaceMs } = this.#parts
    const now = (): Moment => clock.now() as Moment
    if (outbox.next(id, now()) === undefined) return
    await clock.sleep(paceMs.gather, signal)
    const waiting = outbox.next(id, now())
    if (waiting === undefined) return
    const { told, lost, numbers } = waiting
    try {
      const channel = channels.open(id)
      const { language, kind } = channel.settings
      const message = compose(told, lost, languages[language], textBytesMax[kind])
      await this.#send(channel, message, told, `${id} ${numbers.join(' ')}`, signal)
      outbox.taken(id, waiting, now())
    } catch (error) {
      if (signal.aborted || isCode(error, 'not-found')) return
      outbox.failed(id, error, random.fraction(), now())
      tell(`a channel did not take an alarm, it is tried again: ${messageOf(error)}`, { error })
    }
    await clock.sleep(paceMs.between, signal)
  }

  async #send(
    { settings }: OpenedChannel,
    message: Message,
    told: readonly Told[],
    key: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#parts
    const { authority, secret } = settings
    if (settings.kind === 'smtp') {
      const { host, port, tls, user, from, to } = settings
      await sendMail({ host, port, tls, user, password: secret, from, to, authority }, message, clock, signal)
      return
    }
    const { kind, url } = settings
    if (url === undefined) throw withoutAddress()
    const delivery = { message, told, language: languages[settings.language], key }
    const request = requestOf({ kind, url, secret, authority }, delivery, clock.now() as Moment)
    judgeAnswer(kind, request.url.host, await post(request, clock, signal))
  }
}

const withoutAddress = (): TidemarkError =>
  new TidemarkError('bad-request', { message: 'the channel has no address', hint: 'give it one' })
