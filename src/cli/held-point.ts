import type { ApiClient } from '../api/client.ts'
import { heldPointAnswer } from '../api/schemas.ts'
import { isCode, messageOf } from '../base/errors.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Parts } from './parts.ts'

/** Sooner than a vault that was started again looks for what has left its window. */
const renewMs = 30_000

export interface HeldPointRequest {
  readonly client: ApiClient
  readonly source: string
  readonly at: Sequence
  /** Told when the point cannot be held any more. */
  readonly note: (message: string) => void
}

/** Has the vault keep what a point needs for as long as this runs, until it is disposed. */
export async function holdPoint(
  { client, source, at, note }: HeldPointRequest,
  { clock, random }: Pick<Parts, 'clock' | 'random'>,
): Promise<AsyncDisposable> {
  const holder = Buffer.from(random.bytes(16)).toString('hex')
  const place = `/v1/sources/${encodeURIComponent(source)}/held-points`
  const hold = async (): Promise<void> =>
    void (await client.json('POST', place, heldPointAnswer, { at: `seq:${at}`, holder }))
  await hold()
  const ended = new AbortController()
  const renewing = renew()
  return {
    [Symbol.asyncDispose]: async () => {
      ended.abort(new Error('nobody reads the point any more'))
      await renewing
    },
  }

  async function renew(): Promise<void> {
    for (;;) {
      try {
        await clock.sleep(renewMs, ended.signal)
        await hold()
      } catch (error) {
        if (ended.signal.aborted) return
        // A vault that is away has forgotten nothing yet, and is asked again.
        if (!isCode(error, 'unreachable')) note(`the point may leave the window: ${messageOf(error)}`)
      }
    }
  }
}
