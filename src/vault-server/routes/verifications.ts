import { z } from 'zod'
import { verification, type VerificationAnswer, verificationRequest, verificationsRequest } from '../../api/schemas.ts'
import { isoMoment, moment, type Moment } from '../../model/moment.ts'
import type { Http } from '../../http/server.ts'
import { asker, sourceFor } from '../access.ts'
import { momentOf } from '../asked.ts'
import type { Context } from '../context.ts'
import type { Verification } from '../measures/verification-rows.ts'
import { resolvePoint } from '../resolve-point.ts'

const named = z.object({ source: z.string() })

/** What was verified, here or elsewhere. */
export function verificationRoutes(http: Http, context: Context): void {
  const { vault, measures, clock } = context
  const { registry } = vault

  http.get(
    '/v1/sources/:source/verifications',
    {
      schema: {
        summary: 'Verifications that ended in a span, the newest first',
        params: named,
        querystring: verificationsRequest,
        response: { 200: z.array(verification).max(1000) },
      },
    },
    async (request) => {
      const { id } = sourceFor(registry, request.caller, request.params.source)
      const { from, to, limit } = request.query
      const until = to === undefined ? moment(Number.MAX_SAFE_INTEGER) : momentOf(to)
      const since = from === undefined ? moment(0) : momentOf(from)
      return measures.ask((file) => file.verifications(id, since, until, limit)).map(tellVerification)
    },
  )

  http.post(
    '/v1/sources/:source/verifications',
    {
      schema: {
        summary: 'Record that a point was verified elsewhere: restored, recovered, checked',
        params: named,
        body: verificationRequest,
        response: { 200: verification },
      },
    },
    async (request) => {
      const { id } = sourceFor(registry, request.caller, request.params.source)
      const { at, ...told } = request.body
      const point = await resolvePoint(context, id, at)
      const made: Verification = {
        ...told,
        at: clock.now() as Moment,
        sequence: point.sequence,
        moment: point.moment,
        by: asker(registry, request.caller, request.headers['tidemark-by']),
      }
      measures.ask((file) => file.putVerification(id, made))
      return tellVerification(made)
    },
  )
}

const tellVerification = ({ at, moment: when, ...rest }: Verification): VerificationAnswer => ({
  ...rest,
  at: isoMoment(at),
  moment: isoMoment(when),
})
