import { z } from 'zod'
import { encodeFollowFrame, type FollowFrame } from '../../format/follow.ts'
import { fromAbsolute } from '../../model/path.ts'
import { sequence } from '../../model/sequence.ts'
import { followJournal } from '../../vault/follow.ts'
import { sourceFor } from '../access.ts'
import type { Context } from '../context.ts'
import type { Http } from '../../http/server.ts'
import { gone, sendStream } from '../../http/streams.ts'

const path = z.string().startsWith('/')
const span = z.object({
  from: z.coerce.number().int().min(0).describe('a sequence: the changes after it are told'),
  path: z
    .union([path, z.array(path).max(64)])
    .optional()
    .describe('only what touches these paths; may be repeated'),
})

/** A journal as it grows: for standbys, relays and whoever watches. */
export function followRoutes(http: Http, { vault, clock }: Context): void {
  http.get(
    '/v1/sources/:source/follow',
    {
      schema: {
        summary: 'The changes of a journal as they become durable, for ever (docs/protocols/follow.md)',
        description:
          'A stream of binary frames that ends only with a frame that tells why. It is silent for 5 s at most.',
        produces: ['application/octet-stream'],
        params: z.object({ source: z.string() }),
        querystring: span,
      },
    },
    async (request, reply) => {
      const source = sourceFor(vault.registry, request.caller, request.params.source).id
      const { from, path: wanted } = request.query
      const paths = [wanted ?? []].flat().map(fromAbsolute)
      const followed = { source, after: sequence(from), paths }
      return sendStream(
        reply,
        'application/octet-stream',
        encoded(followJournal(vault, clock, followed, gone(request, reply))),
      )
    },
  )
}

async function* encoded(frames: AsyncIterable<FollowFrame>): AsyncGenerator<Uint8Array> {
  for await (const frame of frames) yield encodeFollowFrame(frame)
}
