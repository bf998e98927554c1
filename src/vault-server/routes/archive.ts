import { archiveRequest } from '../../api/around.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import { gone, sendStream } from '../../http/streams.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import { displayName } from '../../model/path.ts'
import type { SourceDefinition } from '../../model/source.ts'
import { readableSource } from '../access.ts'
import { archive, archiveName, type ArchiveRequest, checkZip, isArchived } from '../archive.ts'
import { named, pathIn } from '../asked.ts'
import type { Context } from '../context.ts'
import { attachment } from '../attachment.ts'
import { heldMs } from '../held-points.ts'
import { resolvePoint } from '../resolve-point.ts'

/** Of all askers; each holds the directory of its zip file in memory. */
const archivesMax = 4
const types = { zip: 'application/zip', tar: 'application/x-tar' } as const

export function archiveRoutes(http: Http, context: Context): void {
  const { views } = context.derived
  const underWay = new Set<AbortSignal>()

  http.get(
    '/v1/sources/:source/archive',
    {
      schema: {
        summary: 'A directory or file at a point as zip or tar; cut off where it cannot be read to its end',
        params: named,
        querystring: archiveRequest,
      },
    },
    async (request, reply) => {
      const source = readableSource(context, request.caller, request.params.source)
      const { at, format } = request.query
      const { sequence, moment } = await resolvePoint(context, source.id, at)
      const top = await views.stat(source.id, sequence, pathIn(request.query))
      if (!isArchived(top))
        throw new TidemarkError('bad-request', {
          message: `/${displayName(top.path)} is a ${top.type}`,
          hint: 'choose a directory or a file',
        })
      const name = archiveName(top.path, source.name)
      const wanted: ArchiveRequest = { source: source.id, at: sequence, top, name, format }
      const signal = gone(request, reply)
      if (underWay.size >= archivesMax) throw tooMany()
      underWay.add(signal)
      reply.raw.once('close', () => underWay.delete(signal))
      if (format === 'zip') await checkZip(views, wanted, (await views.statistics(source.id)).files, signal)
      const file = `${displayName(name)}-${fileMoment(moment)}.${format}`
      return sendStream(reply, types[format], held(source, moment, archive(views, wanted, signal)), attachment(file))
    },
  )

  /** As long as it is read, what it needs stays although it may leave the window. */
  async function* held(
    { id }: SourceDefinition,
    moment: Moment,
    pieces: AsyncIterable<Buffer>,
  ): AsyncGenerator<Buffer> {
    const { held: points, clock, random } = context
    const holder = `archive ${Buffer.from(random.bytes(8)).toString('hex')}`
    let heldAtMs: number | undefined
    for await (const piece of pieces) {
      const nowMs = clock.monotonicMs()
      if (heldAtMs === undefined || nowMs - heldAtMs > heldMs / 2) {
        points.hold(id, holder, moment)
        heldAtMs = nowMs
      }
      yield piece
    }
  }
}

/** `2026-11-22T140311Z`: no file system minds it. */
const fileMoment = (moment: Moment): string => `${isoMoment(moment).slice(0, 19).replaceAll(':', '')}Z`

const tooMany = (): TidemarkError =>
  new TidemarkError('in-use', {
    message: `${archivesMax} archives are being made already`,
    hint: 'try again when one of them is done, or restore the directory',
  })
