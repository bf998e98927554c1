import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Malformed } from '../base/bytes.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { Intake } from './intake.ts'
import { dialLine, type Line, lineOf } from './line.ts'
import type { Want } from './negotiation.ts'
import { joinTls, type NbdClientTls } from './tls.ts'

export interface NbdAddress {
  readonly at: { readonly path: string } | { readonly host: string; readonly port: number }
  readonly tls?: NbdClientTls | undefined
}

/** Connects, and speaks until the conversation is over. Bytes that came after it are in the intake. */
export async function converse<T>(
  { at, tls }: NbdAddress,
  speak: (send: (bytes: Buffer) => void) => Generator<Want, T, Buffer>,
  signal: AbortSignal,
): Promise<{ line: Line; intake: Intake; outcome: T }> {
  signal.throwIfAborted()
  // TLS takes bytes from a socket in its own way.
  let line = tls === undefined ? dialLine(at) : lineOf(connect(at))
  const aborted = (): void => void line.socket.destroy(signal.reason)
  signal.addEventListener('abort', aborted, { once: true })
  try {
    await once(line.socket, 'connect')
    line.socket.setNoDelay(true).setKeepAlive(true)
    let hearing = new Hearing(line)
    const conversation = speak((bytes) => line.socket.write(bytes))
    let next = conversation.next()
    while (next.done !== true) {
      if (next.value === 'tls') {
        if (tls === undefined || hearing.intake.available > 0)
          throw new Malformed('the server sent more before TLS began')
        hearing.end()
        line.socket.removeAllListeners('data').pause()
        line = lineOf(await joinTls(line.socket, tls, 'host' in at ? at.host : 'localhost'))
        hearing = new Hearing(line)
        next = conversation.next()
      } else next = conversation.next(await hearing.take(next.value))
    }
    hearing.end()
    return { line, intake: hearing.intake, outcome: next.value }
  } catch (error) {
    line.socket.on('error', () => undefined).destroy()
    signal.throwIfAborted()
    if (error instanceof TidemarkError) throw error
    throw error instanceof Malformed ? violation(error) : unreachableAt(at, error)
  } finally {
    signal.removeEventListener('abort', aborted)
  }
}

/** Waits for bytes, a few at a time. */
class Hearing {
  readonly intake = new Intake()
  readonly #socket: Socket
  #failure: Error | undefined
  #wake: () => void = () => undefined
  readonly #onError = (error: Error): void => this.#end(error)
  readonly #onEnd = (): void => this.#end(new Malformed('it ended the connection during the handshake'))

  constructor({ socket, receiveBy }: Line) {
    this.#socket = socket
    socket.on('error', this.#onError).on('end', this.#onEnd).on('close', this.#onEnd)
    receiveBy({
      room: () => this.intake.room(),
      received: (count, buffer) => this.intake.received(count, buffer, () => this.#wake()),
    })
  }

  async take(count: number): Promise<Buffer> {
    while (this.intake.available < count) {
      if (this.#failure !== undefined) throw this.#failure
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    return this.intake.take(count)
  }

  end(): void {
    this.#socket.off('error', this.#onError).off('end', this.#onEnd).off('close', this.#onEnd)
  }

  #end(failure: Error): void {
    this.#failure ??= failure
    this.#wake()
  }
}

export const violation = (error: Malformed): TidemarkError =>
  new TidemarkError('protocol-violation', { message: `the NBD server: ${error.message}`, cause: error })

const unreachableAt = (at: NbdAddress['at'], error: unknown): TidemarkError =>
  new TidemarkError('unreachable', {
    message: `the NBD server at ${'path' in at ? at.path : `${at.host}:${at.port}`} cannot be reached: ${messageOf(error)}`,
    hint: 'check that it runs, and that this user may connect to it',
    cause: error,
  })
