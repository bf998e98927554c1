import { z } from 'zod'
import {
  auditExportRequest,
  type AuditRecord,
  auditRecord,
  auditRequest,
  auditVerification,
} from '../../api/console.ts'
import type { Http } from '../../http/server.ts'
import { sendLines, sendStream } from '../../http/streams.ts'
import type { Context } from '../context.ts'
import { csvBegin, csvLine } from '../csv.ts'

/** What happened, for who audits. */
export function auditRoutes(http: Http, { audit }: Context): void {
  http.get(
    '/api/audit',
    {
      config: { needs: 'audit' },
      schema: {
        summary: 'Audit records, the newest first',
        querystring: auditRequest,
        response: { 200: z.array(auditRecord) },
      },
    },
    async (request) => audit.search(request.query),
  )

  http.get(
    '/api/audit/export',
    {
      config: { needs: 'audit', isRecorded: true },
      schema: {
        summary: 'Audit records, the oldest first, all that are asked for, as CSV or as lines of JSON',
        querystring: auditExportRequest,
        produces: ['text/csv', 'application/x-ndjson'],
      },
    },
    async (request, reply) => {
      const { format, ...wanted } = request.query
      request.told = { action: 'audit-export', subject: format.toUpperCase(), detail: JSON.stringify(wanted) }
      reply.header('content-disposition', `attachment; filename="tidemark-audit.${format}"`)
      if (format === 'jsonl') return sendLines(reply, audit.all(wanted))
      return sendStream(reply, 'text/csv; charset=utf-8', csv(audit.all(wanted)))
    },
  )

  http.post(
    '/api/audit/verification',
    {
      config: { needs: 'audit' },
      schema: {
        summary: 'Walk the chain from its beginning to its end',
        body: z.object({}).nullish(),
        response: { 200: auditVerification },
      },
    },
    async (request) => {
      const verification = await audit.verify()
      request.told = {
        action: 'audit-verify',
        subject: verification.lastHash.slice(0, 10),
        detail: JSON.stringify(verification),
      }
      return verification
    },
  )
}

const columns = ['number', 'at', 'user', 'address', 'action', 'subject', 'outcome', 'detail', 'hash'] as const

async function* csv(records: AsyncIterable<AuditRecord>): AsyncGenerator<Buffer> {
  yield Buffer.from(csvBegin + csvLine(columns))
  for await (const record of records) yield Buffer.from(csvLine(columns.map((column) => record[column])))
}
