import { z } from 'zod'
import { type Report, report, reportRequest } from '../../api/console.ts'
import { namePattern } from '../../model/source.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import { gone } from '../../http/streams.ts'
import type { Moment } from '../../model/moment.ts'
import type { Context } from '../context.ts'
import { languages } from '../language/languages.ts'
import { isoSpan } from '../reports/month.ts'
import { alarmsMax, makeReport } from '../reports/report.ts'
import { reportCsv } from '../reports/report-csv.ts'

const suffix = '.csv'
const wanted = z.object({
  system: z.string().regex(namePattern),
  month: z.string().regex(/^20\d{2}-(0[1-9]|1[0-2])(\.csv)?$/),
})

/** Made at a time, of all who ask. */
const reportsMax = 4

/** What a month was like, as the vaults measured it. */
export function reportRoutes(http: Http, { federation, alarms, clock }: Context): void {
  let underWay = 0
  const made = async (system: string, month: string, signal: AbortSignal): Promise<Report> => {
    if (underWay >= reportsMax) {
      throw new TidemarkError('busy', {
        message: `${reportsMax} reports are being made already`,
        hint: 'try again in a minute',
      })
    }
    const now = clock.now() as Moment
    underWay++
    try {
      return await makeReport(
        { system, month },
        federation.vaults,
        (span) => alarms.table.search({ system, ...isoSpan(span), limit: alarmsMax }, now),
        now,
        signal,
      )
    } finally {
      underWay--
    }
  }

  http.get(
    '/api/reports/:system/:month',
    {
      config: { needs: 'see' },
      schema: {
        summary: 'The report of a system and a month (UTC): 2026-11, or, as CSV, 2026-11.csv',
        params: wanted,
        querystring: reportRequest,
        response: { 200: z.union([report, z.string()]) },
      },
    },
    async (request, reply) => {
      const { system, month } = request.params
      const signal = gone(request, reply)
      if (!month.endsWith(suffix)) return made(system, month, signal)
      const text = reportCsv(
        await made(system, month.slice(0, -suffix.length), signal),
        languages[request.query.language],
      )
      const name = encodeURIComponent(`tidemark-${system}-${month}`)
      reply.header('content-disposition', `attachment; filename="tidemark-report-${month}"; filename*=UTF-8''${name}`)
      reply.type('text/csv; charset=utf-8')
      return text
    },
  )
}
