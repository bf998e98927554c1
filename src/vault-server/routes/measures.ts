import { z } from 'zod'
import {
  measuresAnswer,
  measuresMax,
  measuresRequest,
  retentionAnswer,
  spaceAnswer,
  stripHoursMax,
  stripsAnswer,
  stripsRequest,
} from '../../api/measures.ts'
import { TidemarkError } from '../../base/errors.ts'
import { isoMoment, moment } from '../../model/moment.ts'
import { demandKnown, demandOperator, sourceFor, visibleSources } from '../access.ts'
import { momentOf } from '../asked.ts'
import type { Context } from '../context.ts'
import type { Http } from '../../http/server.ts'
import { previewRetention } from '../retention-preview.ts'
import { rangeOf, slicesPerHour, type SpanRange, stepUs } from '../measures/spans.ts'

/** Strips that are made without giving way to others. */
const stripsAtOnce = 100

/** The past of lag and throughput. */
export function measureRoutes(http: Http, context: Context): void {
  const { vault, measures, spaceLooks, clock } = context
  const { registry } = vault

  http.get(
    '/v1/sources/:source/measures',
    {
      schema: {
        summary: 'What was measured of a source, in steps of a minute, an hour or a day',
        description: `Minutes are kept for 35 days, hours for 400, days for five years. At most ${measuresMax} steps.`,
        params: z.object({ source: z.string() }),
        querystring: measuresRequest,
        response: { 200: measuresAnswer },
      },
    },
    async (request) => {
      const { id } = sourceFor(registry, request.caller, request.params.source)
      const { from, to, step } = request.query
      const range = spans(from, to, stepUs[step], measuresMax)
      const rows = measures.ask((file) => file.read(id, step, range))
      return {
        source: id,
        measures: rows.map(([at, measured]) => ({ at: isoMoment(moment(at * stepUs[step])), ...measured })),
      }
    },
  )

  http.get(
    '/v1/measures',
    {
      schema: {
        summary: 'The worst lag of all sources in each five minutes, or hour, of a span',
        querystring: stripsRequest,
        response: { 200: stripsAnswer },
      },
    },
    async (request) => {
      demandKnown(request.caller)
      const { from, to, step } = request.query
      const range = spans(from, to, stepUs.hour, stripHoursMax)
      const sources: z.infer<typeof stripsAnswer>['sources'] = []
      for (const [index, { id }] of visibleSources(registry, request.caller).entries()) {
        if (index % stripsAtOnce === stripsAtOnce - 1) await clock.sleep(0)
        const digits = measures.ask((file) => file.strip(id, range))
        sources.push({ id, strip: step === 'hour' ? worstOfHours(digits) : digits })
      }
      return { from: isoMoment(moment(range.from * stepUs.hour)), step, sources }
    },
  )

  http.get(
    '/v1/sources/:source/retention',
    {
      schema: {
        summary: 'What a window of this length would delete; nothing is done',
        params: z.object({ source: z.string() }),
        querystring: z.object({ windowMs: z.coerce.number().int().min(60_000) }),
        response: { 200: retentionAnswer },
      },
    },
    async (request) => {
      const { id } = sourceFor(registry, request.caller, request.params.source)
      return previewRetention(context, id, request.query.windowMs)
    },
  )

  http.get(
    '/v1/space',
    {
      schema: {
        summary: 'What the vault holds, day by day and source by source, and when it will be full',
        description: 'What each source takes was looked at within the last minutes.',
        response: { 200: spaceAnswer },
      },
    },
    async (request) => {
      demandOperator(request.caller)
      return spaceLooks.answer()
    },
  )
}

function spans(from: string, to: string, lengthUs: number, max: number): SpanRange {
  const range = rangeOf(momentOf(from), momentOf(to), lengthUs)
  const count = range.to - range.from
  if (count >= 1 && count <= max) return range
  throw new TidemarkError('bad-request', {
    message: count < 1 ? `nothing is between ${from} and ${to}` : `${count} steps are asked for, of at most ${max}`,
    hint: count < 1 ? 'let "to" be after "from"' : 'ask for less at once, or in longer steps',
  })
}

/** The largest digit of each hour. */
const worstOfHours = (strip: string): string =>
  Array.from({ length: strip.length / slicesPerHour }, (_, hour) =>
    [...strip.slice(hour * slicesPerHour, (hour + 1) * slicesPerHour)].toSorted().at(-1),
  ).join('')
