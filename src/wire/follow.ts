import { type ApiClient, apiPath } from '../api/client.ts'
import { Malformed } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { type ErrorCode, errorCodes, TidemarkError } from '../base/errors.ts'
import { decodeFollowFrames, type FollowFrame } from '../format/follow.ts'
import type { Sequence } from '../model/sequence.ts'

export interface Following {
  /** Name or id. */
  readonly source: string
  readonly after: Sequence
  /** Absolute, as users write them. None: everything. */
  readonly paths?: readonly string[]
}

/** A vault breaks its silence every 5 s. */
const silenceMsMax = 20_000

/**
 * Follows a journal over the vault's API; frames come as fast as they are taken. Ends only by throwing: `unreachable` where
 * the line is cut or silent (go on from the last `through`), else what the vault told as the reason.
 */
export async function* follow(
  client: ApiClient,
  clock: Clock,
  { source, after, paths = [] }: Following,
  signal: AbortSignal,
): AsyncGenerator<Exclude<FollowFrame, { kind: 'end' }>> {
  const silent = new AbortController()
  const stop = AbortSignal.any([signal, silent.signal])
  const query = apiPath(`/v1/sources/${encodeURIComponent(source)}/follow`, { from: after, path: paths })
  const watch = new SilenceWatch(clock, silent)
  using _watch = watch
  try {
    for await (const frame of decodeFollowFrames(await client.stream('GET', query, undefined, stop))) {
      if (frame.kind === 'end') throw asTold(frame)
      watch.rest()
      yield frame
      watch.heard()
    }
  } catch (error) {
    signal.throwIfAborted()
    if (silent.signal.aborted) throw cut(`it was silent for ${silenceMsMax / 1000} s`)
    throw error instanceof Malformed ? cut(error.message) : error
  }
  throw cut('it ended')
}

/** Cuts a line on which nothing comes. While the consumer works, nothing is expected. */
class SilenceWatch implements Disposable {
  readonly #clock: Clock
  readonly #silent: AbortController
  readonly #over = new AbortController()
  #heardMs: number | undefined

  constructor(clock: Clock, silent: AbortController) {
    this.#clock = clock
    this.#silent = silent
    this.#heardMs = clock.monotonicMs()
    void this.#watch()
  }

  heard(): void {
    this.#heardMs = this.#clock.monotonicMs()
  }

  rest(): void {
    this.#heardMs = undefined
  }

  async #watch(): Promise<void> {
    const tick = (): Promise<boolean> =>
      this.#clock.sleep(silenceMsMax / 4, this.#over.signal).then(
        () => true,
        () => false,
      )
    while (await tick()) {
      if (this.#heardMs !== undefined && this.#clock.monotonicMs() - this.#heardMs > silenceMsMax) {
        return this.#silent.abort()
      }
    }
  }

  [Symbol.dispose](): void {
    this.#over.abort()
  }
}

const asTold = ({ code, message, hint }: { code: string; message: string; hint: string }): TidemarkError =>
  new TidemarkError(Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : 'protocol-violation', {
    message,
    ...(hint === '' ? {} : { hint }),
  })

const cut = (how: string): TidemarkError =>
  new TidemarkError('unreachable', { message: `the vault no longer tells what is new: ${how}` })
