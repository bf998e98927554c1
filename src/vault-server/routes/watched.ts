import { answerWatcher, type Watched, watchedPaths } from '../../monitoring/watched.ts'
import { demandOperator } from '../access.ts'
import type { Http } from '../../http/server.ts'

/** What watchers ask, also at the vault's own socket. */
export function watchedRoutes(http: Http, watched: Watched): void {
  for (const path of watchedPaths) {
    http.get(path, { schema: { hide: true } }, async (request, reply) => {
      demandOperator(request.caller)
      const { status, type, text } = await answerWatcher(path, watched)
      return reply.code(status).type(type).send(text)
    })
  }
}
