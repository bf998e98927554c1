import { z } from 'zod'
import {
  chunkKeyAnswer,
  entry,
  extentsAnswer,
  holesAnswer,
  holesRequest,
  readRequest,
  resolvedPoint,
  stretchesRequest,
  verifyEvent,
} from '../../api/schemas.ts'
import { TidemarkError } from '../../base/errors.ts'
import { isoMoment, moment } from '../../model/moment.ts'
import { type BinaryString, displayName, nameOf } from '../../model/path.ts'
import type { RecoveryPoint } from '../../model/recovery-point.ts'
import { sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import type { PointRow } from '../../vault/views/points.ts'
import type { ReadRequest, VerifyEvent } from '../../vault/views/service.ts'
import type { Entry } from '../../vault/views/view.ts'
import { asker, demandKnown, readableSource } from '../access.ts'
import { tellHole, tellNs, tellPath, tellRecoveryPoint } from '../answers.ts'
import { at, exactPath, momentOf, named, path, pathBytes, pathIn, where } from '../asked.ts'
import { attachment } from '../attachment.ts'
import type { Context } from '../context.ts'
import type { Http } from '../../http/server.ts'
import { gone, sendLines, sendStream } from '../../http/streams.ts'
import type { Caller } from '../http.ts'
import { resolvePoint } from '../resolve-point.ts'
import { recordReadBack } from '../verifications.ts'

const readBodyBytesMax = 16 * 1024 * 1024

/** Everything that looks at a moment: points, trees, contents, differences, manifests, verification. */
export function viewRoutes(http: Http, context: Context): void {
  const { vault, derived, clock } = context
  const { views } = derived
  const { registry } = vault
  const find = (caller: Caller, source: string): Id => readableSource(context, caller, source).id
  const resolve = (source: Id, point: string): Promise<RecoveryPoint> => resolvePoint(context, source, point)

  http.get(
    '/v1/chunk-key',
    { schema: { summary: 'The key that chunk ids are made with', response: { 200: chunkKeyAnswer } } },
    async (request) => {
      demandKnown(request.caller)
      return { chunkKey: registry.chunkKey.toString('base64') }
    },
  )

  http.get(
    '/v1/sources/:source/point',
    {
      schema: {
        summary: 'What a point means',
        params: named,
        querystring: z.object({ at }),
        response: { 200: resolvedPoint },
      },
    },
    async (request) => tellRecoveryPoint(await resolve(find(request.caller, request.params.source), request.query.at)),
  )

  const span = z.object({
    from: z.string().optional(),
    to: z.string().optional(),
    limit: z.coerce.number().int().min(1).max(100_000).default(50),
    restMs: z.coerce
      .number()
      .int()
      .min(0)
      .max(86_400_000)
      .default(1000)
      .describe('batches further apart than this are two rows of activity'),
  })
  http.get(
    '/v1/sources/:source/points',
    { schema: { summary: 'Recovery points, as lines of JSON', params: named, querystring: span } },
    async (request, reply) => {
      const source = find(request.caller, request.params.source)
      const { from, to, limit, restMs } = request.query
      const rows = await views.points(source, {
        ...(from === undefined ? {} : { from: (await resolve(source, from)).moment }),
        ...(to === undefined ? {} : { to: (await resolve(source, to)).moment }),
        limit,
        restUs: restMs * 1000,
      })
      return sendLines(reply, lines(rows.map(tellPoint)))
    },
  )

  http.get(
    '/v1/sources/:source/holes',
    {
      schema: {
        summary: 'Spans in which changes were not kept one by one',
        params: named,
        querystring: holesRequest,
        response: { 200: holesAnswer },
      },
    },
    async (request) => {
      const source = find(request.caller, request.params.source)
      const { from, to } = request.query
      const holes = await views.holes(source, {
        from: from === undefined ? moment(0) : momentOf(from),
        to: to === undefined ? moment(Number.MAX_SAFE_INTEGER) : momentOf(to),
      })
      return holes.map(tellHole)
    },
  )

  http.get(
    '/v1/sources/:source/tree',
    { schema: { summary: 'A directory at a point, as lines of JSON', params: named, querystring: where } },
    async (request, reply) => {
      const source = find(request.caller, request.params.source)
      const point = await resolve(source, request.query.at)
      return sendLines(reply, entries(views.list(source, point.sequence, pathIn(request.query), gone(request, reply))))
    },
  )

  http.get(
    '/v1/sources/:source/stat',
    { schema: { summary: 'One path at a point', params: named, querystring: where, response: { 200: entry } } },
    async (request) => {
      const source = find(request.caller, request.params.source)
      const point = await resolve(source, request.query.at)
      return tellEntry(await views.stat(source, point.sequence, pathIn(request.query)))
    },
  )

  http.get(
    '/v1/sources/:source/history',
    {
      schema: {
        summary: 'The versions of one path, as lines of JSON',
        params: named,
        querystring: z.object({ path, pathBytes }),
      },
    },
    async (request, reply) => {
      const source = find(request.caller, request.params.source)
      return sendLines(
        reply,
        mapped(views.history(source, pathIn(request.query), gone(request, reply)), (row) => ({
          sequence: row.sequence,
          moment: isoMoment(row.moment),
          event: row.event,
          ...(row.event === 'version' ? { type: row.type, bytes: row.bytes, modified: tellNs(row.modifiedNs) } : {}),
        })),
      )
    },
  )

  const sides = z.object({ from: z.string(), to: z.string().default('latest'), path, pathBytes })
  http.get(
    '/v1/sources/:source/diff',
    { schema: { summary: 'What differs between two points, as lines of JSON', params: named, querystring: sides } },
    async (request, reply) => {
      const source = find(request.caller, request.params.source)
      const from = await resolve(source, request.query.from)
      const to = await resolve(source, request.query.to)
      return sendLines(
        reply,
        mapped(views.diff(source, from.sequence, to.sequence, pathIn(request.query), gone(request, reply)), (row) => ({
          change: row.change,
          ...tellPath(row.path),
        })),
      )
    },
  )

  const range = where.extend({
    offset: z.coerce.number().int().min(0).default(0),
    length: z.coerce.number().int().min(0).optional(),
  })
  http.get(
    '/v1/sources/:source/content',
    { schema: { summary: 'The bytes of a file at a point', params: named, querystring: range } },
    async (request, reply) => {
      const source = find(request.caller, request.params.source)
      const point = await resolve(source, request.query.at)
      const file = await views.stat(source, point.sequence, pathIn(request.query))
      if (file.type !== 'file')
        throw new TidemarkError('bad-request', {
          message: `/${displayName(file.path)} is a ${file.type}, not a file`,
          hint: 'list it with "tidemark ls"',
        })
      const { offset, length } = request.query
      const bytes = Math.max(0, Math.min(length ?? file.bytes, file.bytes - offset))
      return sendStream(
        reply,
        'application/octet-stream',
        views.content(source, point.sequence, file.path, offset, bytes, gone(request, reply)),
        attachment(displayName(nameOf(file.path))),
      )
    },
  )

  const many = z.object({ at, pathBytes: z.union([z.base64(), z.array(z.base64())]).optional() })
  http.get(
    '/v1/sources/:source/manifest',
    { schema: { summary: 'The tree at a point (docs/formats/vault.md, manifest)', params: named, querystring: many } },
    async (request, reply) => {
      const source = find(request.caller, request.params.source)
      const point = await resolve(source, request.query.at)
      const paths = [request.query.pathBytes ?? []].flat().map(exactPath)
      return sendStream(
        reply,
        'application/octet-stream',
        views.manifest(source, point.sequence, paths, gone(request, reply)),
      )
    },
  )

  const ranges = { params: named, querystring: z.object({ at }), body: readRequest }
  const wantedIn = (body: z.infer<typeof readRequest>): ReadRequest[] =>
    body.requests.map((one) => ({ path: exactPath(one.path), at: one.at, bytes: one.bytes }))
  http.post(
    '/v1/sources/:source/read',
    {
      bodyLimit: readBodyBytesMax,
      schema: { summary: 'Ranges of files at a point, one after the other', ...ranges },
    },
    async (request, reply) => {
      const source = find(request.caller, request.params.source)
      const point = await resolve(source, request.query.at)
      const read = views.read(source, point.sequence, wantedIn(request.body), gone(request, reply))
      return sendStream(reply, 'application/octet-stream', read)
    },
  )

  http.post(
    '/v1/sources/:source/read-resting',
    {
      bodyLimit: readBodyBytesMax,
      schema: { summary: 'The same, compressed as it rests (docs/formats/vault.md, content)', ...ranges },
    },
    async (request, reply) => {
      const source = find(request.caller, request.params.source)
      const point = await resolve(source, request.query.at)
      const read = views.readResting(source, point.sequence, wantedIn(request.body), gone(request, reply))
      return sendStream(reply, 'application/octet-stream', read)
    },
  )

  http.post(
    '/v1/sources/:source/stretches',
    {
      bodyLimit: readBodyBytesMax,
      schema: {
        summary: 'Ranges of one file in the order in which they rest, named, without zeros (docs/formats/vault.md)',
        params: named,
        querystring: z.object({ at }),
        body: stretchesRequest,
      },
    },
    async (request, reply) => {
      const source = find(request.caller, request.params.source)
      const point = await resolve(source, request.query.at)
      const { path: file, ...wanted } = request.body
      const stretches = views.stretches(source, point.sequence, exactPath(file), wanted, gone(request, reply))
      return sendStream(reply, 'application/octet-stream', stretches)
    },
  )

  http.get(
    '/v1/sources/:source/journal-stretches',
    {
      schema: {
        summary:
          'What of a file stands in the journal, in its order (docs/formats/vault.md); to be read before the rest',
        params: named,
        querystring: where.extend({ after: z.coerce.number().int().min(0).default(0) }),
      },
    },
    async (request, reply) => {
      const source = find(request.caller, request.params.source)
      const point = await resolve(source, request.query.at)
      const after = sequence(request.query.after)
      const stretches = views.journalStretches(
        source,
        point.sequence,
        pathIn(request.query),
        after,
        gone(request, reply),
      )
      return sendStream(reply, 'application/octet-stream', stretches)
    },
  )

  http.get(
    '/v1/sources/:source/extents',
    {
      schema: {
        summary: 'Where data stands in a file at a point',
        params: named,
        querystring: range.required({ length: true }),
        response: { 200: extentsAnswer },
      },
    },
    async (request) => {
      const source = find(request.caller, request.params.source)
      const point = await resolve(source, request.query.at)
      const { offset, length } = request.query
      const found = await views.extents(source, point.sequence, pathIn(request.query), { at: offset, bytes: length })
      return { until: found.until, data: [...found.data] }
    },
  )

  http.post(
    '/v1/sources/:source/verify',
    {
      schema: {
        summary: 'Read back every byte of a point; progress and result as lines of JSON',
        params: named,
        querystring: z.object({ at }),
      },
    },
    async (request, reply) => {
      const source = find(request.caller, request.params.source)
      const beganMs = clock.monotonicMs()
      const point = await resolve(source, request.query.at)
      const by = asker(registry, request.caller, request.headers['tidemark-by'])
      const tell = (event: VerifyEvent): z.infer<typeof verifyEvent> => {
        const failures = event.failures.map(({ path: file, message }) => ({ path: tellPath(file).path, message }))
        if (!event.done) return { ...event, failures }
        const seconds = (clock.monotonicMs() - beganMs) / 1000
        const notRecorded = recordReadBack(context, { source, point, seconds, by }, event)
        return { ...event, failures, ...(notRecorded === undefined ? {} : { notRecorded }) }
      }
      return sendLines(reply, mapped(views.verify(source, point.sequence, gone(request, reply)), tell))
    },
  )
}

function tellEntry({ path: place, type, bytes, attributes, links, target }: Entry): z.infer<typeof entry> {
  return {
    ...tellPath(place),
    type,
    bytes,
    mode: attributes.mode,
    uid: attributes.uid,
    gid: attributes.gid,
    modified: tellNs(attributes.modifiedNs),
    links,
    ...(target === undefined ? {} : { target: displayName(target as BinaryString) }),
  }
}

function tellPoint(row: PointRow): unknown {
  const place = { kind: row.kind, sequence: row.sequence, moment: isoMoment(row.moment) }
  switch (row.kind) {
    case 'activity':
      return {
        ...place,
        until: isoMoment(row.until),
        changes: row.changes,
        bytes: row.bytes,
        settled: row.settled,
        ...(row.flushes === undefined ? {} : { flushes: row.flushes }),
      }
    case 'mark':
      return { ...place, label: row.label }
    case 'suspect':
    case 'hole':
      return { ...place, ...(row.until === undefined ? {} : { until: isoMoment(row.until) }), label: row.reason }
    default:
      return { ...place, label: tellPath(row.path).path }
  }
}

async function* lines<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values
}

async function* mapped<T, U>(values: AsyncIterable<T>, tell: (value: T) => U): AsyncGenerator<U> {
  for await (const value of values) yield tell(value)
}

async function* entries(pages: AsyncIterable<readonly Entry[]>): AsyncGenerator<z.infer<typeof entry>> {
  for await (const page of pages) for (const one of page) yield tellEntry(one)
}
