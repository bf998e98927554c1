import type { LiveEvent } from '../../api/console.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import { gone, sendStream } from '../../http/streams.ts'
import type { Context } from '../context.ts'
import { readLive } from '../live-reader.ts'

/** Open pages at a time, of all and of one account: nobody takes the places of all others. */
const readersMax = 200
export const readersOfOneMax = 50

/** `GET /api/live`: server-sent events, for as long as the page is open and the session lasts. */
export function liveRoutes(http: Http, context: Context): void {
  const ofAccount = new Map<string, number>()
  const count = (account: string, more: 1 | -1): void => {
    const now = (ofAccount.get(account) ?? 0) + more
    if (now === 0) ofAccount.delete(account)
    else ofAccount.set(account, now)
  }

  http.get(
    '/api/live',
    {
      config: { needs: 'see' },
      schema: {
        summary: 'Everything at first, then what changes within 1 s, as server-sent events',
        description: 'Silent for 5 s at most. A reader that is slow gets newer states instead of all of them.',
        produces: ['text/event-stream'],
      },
    },
    async (request, reply) => {
      const { asker } = request
      const session = asker.kind === 'user' ? asker.session : undefined
      const account = session?.account ?? ''
      if (context.live.pages >= readersMax) throw tooMany(`${readersMax} pages are open already`)
      if ((ofAccount.get(account) ?? 0) >= readersOfOneMax)
        throw tooMany(`${readersOfOneMax} pages of this account are open already`)
      const closed = gone(request, reply)
      const signal = session === undefined ? closed : AbortSignal.any([closed, session.ended])
      // A viewer's page may hang on a wall, where nobody touches it.
      const isOnWall = asker.kind === 'user' && asker.role === 'viewer'
      async function* messages(): AsyncGenerator<Buffer> {
        context.live.pages++
        count(account, 1)
        try {
          for await (const event of readLive(context, signal)) {
            if (isOnWall && event.kind === 'heartbeat' && session !== undefined) context.sessions.used(session)
            yield message(event)
          }
        } catch (error) {
          if (!signal.aborted) throw error
        } finally {
          context.live.pages--
          count(account, -1)
        }
      }
      return sendStream(reply.header('x-accel-buffering', 'no'), 'text/event-stream', messages())
    },
  )
}

const tooMany = (message: string): TidemarkError =>
  new TidemarkError('busy', { message, hint: 'close those that nobody looks at' })

const message = (event: LiveEvent): Buffer => Buffer.from(`data: ${JSON.stringify(event)}\n\n`, 'utf8')
