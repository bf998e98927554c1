import { z } from 'zod'
import { heldPointAnswer, heldPointRequest } from '../../api/schemas.ts'
import { formatMoment, type Moment } from '../../model/moment.ts'
import { readableSource } from '../access.ts'
import type { Context } from '../context.ts'
import { heldMs } from '../held-points.ts'
import type { Http } from '../../http/server.ts'

/** For whoever reads a point for long. */
export function heldPointRoutes(http: Http, context: Context & { readonly tell: (line: string) => void }): void {
  const { derived, clock, held, tell } = context
  http.post(
    '/v1/sources/:source/held-points',
    {
      schema: {
        summary: 'Keep what a point needs for another ten minutes, although it may leave the window meanwhile',
        params: z.object({ source: z.string() }),
        body: heldPointRequest,
        response: { 200: heldPointAnswer },
      },
    },
    async (request) => {
      const { id, name } = readableSource(context, request.caller, request.params.source)
      const { at, holder } = request.body
      const { sequence, moment } = await derived.views.resolve(id, at, clock.now() as Moment)
      if (held.hold(id, holder, moment)) tell(`${name}: seq:${sequence} (${formatMoment(moment)}) is held for a reader`)
      return { heldMs }
    },
  )
}
