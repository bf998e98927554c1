import type { VaultEvent } from '../../api/events.ts'
import { demandOperator } from '../access.ts'
import type { Context } from '../context.ts'
import type { Http } from '../../http/server.ts'
import { gone, sendLines } from '../../http/streams.ts'
import { watchVault } from '../watching.ts'

/** What happens, as it happens. */
export function eventRoutes(http: Http, context: Context): void {
  http.get(
    '/v1/events',
    {
      schema: {
        summary: 'Everything at first, then what has changed, as lines of JSON, for as long as it is read',
        description: 'Silent for 5 s at most. A reader that is slow gets newer states instead of all of them.',
        produces: ['application/x-ndjson'],
      },
    },
    async (request, reply) => {
      demandOperator(request.caller)
      const { caller } = request
      const signal = gone(request, reply)
      async function* events(): AsyncGenerator<VaultEvent> {
        using _connected = caller.kind === 'console' ? context.live.connected(caller.console) : undefined
        yield* watchVault(context, signal)
      }
      return sendLines(reply, events())
    },
  )
}
