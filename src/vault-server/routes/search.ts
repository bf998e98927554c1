import { searchRequest, type SearchRow as ToldRow } from '../../api/around.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import { gone, sendLines } from '../../http/streams.ts'
import { isoMoment } from '../../model/moment.ts'
import type { NameCursor } from '../../vault/index/name-reader.ts'
import type { SearchPage, SearchRow } from '../../vault/views/search.ts'
import { readableSource } from '../access.ts'
import { tellPath } from '../answers.ts'
import { named, pathIn } from '../asked.ts'
import type { Context } from '../context.ts'

export function searchRoutes(http: Http, context: Context): void {
  http.get(
    '/v1/sources/:source/search',
    {
      schema: {
        summary: 'Names that contain a text, at any time, as lines of JSON',
        params: named,
        querystring: searchRequest,
      },
    },
    async (request, reply) => {
      const { id } = readableSource(context, request.caller, request.params.source)
      const { name, limit, cursor, gone: isGone } = request.query
      if (/[/\0]/.test(name))
        throw new TidemarkError('bad-request', {
          message: `no name contains ${JSON.stringify(name)}`,
          hint: 'give a part of the name itself; "path" says below which directory',
        })
      const pages = context.derived.views.search(
        id,
        {
          name,
          within: pathIn(request.query),
          order: isGone ? 'gone' : 'any',
          limit,
          ...(cursor === undefined ? {} : { after: parseCursor(cursor) }),
        },
        gone(request, reply),
      )
      return sendLines(reply, linesOf(pages))
    },
  )
}

async function* linesOf(pages: AsyncIterable<SearchPage>): AsyncGenerator<unknown> {
  let names = 0
  let next: NameCursor | undefined
  for await (const page of pages) {
    yield* page.rows.map(tellRow)
    names += page.names
    next = page.next
  }
  yield { names, next: next === undefined ? null : formatCursor(next) }
}

const tellRow = ({ path, type, since, until, bytes }: SearchRow): ToldRow => ({
  ...tellPath(path),
  type,
  since: isoMoment(since.moment),
  sinceSequence: since.sequence,
  until: until === undefined ? null : isoMoment(until.moment),
  untilSequence: until?.sequence ?? null,
  bytes,
})

const formatCursor = ({ until, id }: NameCursor): string => `${until}-${id}`

function parseCursor(text: string): NameCursor {
  const [until, id] = text.split('-').map(Number) as [number, number]
  return { until, id }
}
