import type { Http } from '../../http/server.ts'
import { answerWatcher, type Watched, watchedPaths } from '../../monitoring/watched.ts'

/** What watchers ask, at the console's own socket, and of whoever is signed in. */
export function watchedRoutes(http: Http, watched: Watched): void {
  for (const path of watchedPaths) {
    http.get(path, { config: { needs: 'signed-in' }, schema: { hide: true } }, async (_request, reply) => {
      const { status, type, text } = await answerWatcher(path, watched)
      return reply.code(status).type(type).send(text)
    })
  }
}
