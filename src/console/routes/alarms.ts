import { z } from 'zod'
import { alarm, alarmsRequest, silenceRequest, thresholds, thresholdsAnswer } from '../../api/console.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import type { Moment } from '../../model/moment.ts'
import type { Context } from '../context.ts'
import { sessionOf } from '../server.ts'

const one = z.object({ id: z.string().min(1).max(64) })
const ofSystem = z.object({ system: z.string().min(1).max(63) })

/** Alarms that last and that are over, and from when on something is one. */
export function alarmRoutes(http: Http, { alarms, clock }: Context): void {
  const { table, thresholds: set } = alarms
  const now = (): Moment => clock.now() as Moment

  http.get(
    '/api/alarms',
    {
      config: { needs: 'see' },
      schema: {
        summary: 'Alarms, the newest first: those that last, and those that are over for 400 days',
        querystring: alarmsRequest,
        response: { 200: z.array(alarm) },
      },
    },
    async ({ query }) => table.search(query, now()),
  )

  http.post(
    '/api/alarms/:id/acknowledge',
    {
      config: { needs: 'acknowledge' },
      schema: {
        summary: 'Somebody has seen it and sees to it; it lasts until its reason is gone',
        params: one,
        response: { 200: alarm },
      },
    },
    async (request) => {
      const { id } = request.params
      request.told = { action: 'acknowledge', subject: subjectOf(table.demand(id, now())) }
      const changed = table.acknowledge(id, sessionOf(request).name, now())
      alarms.changed(id)
      return changed
    },
  )

  http.post(
    '/api/alarms/:id/silence',
    {
      config: { needs: 'acknowledge' },
      schema: {
        summary: 'Nothing is sent of it, nor of the next of its kind about the same, for so long',
        params: one,
        body: silenceRequest,
        response: { 200: alarm },
      },
    },
    async (request) => {
      const { id } = request.params
      const { minutes } = request.body
      request.told = { action: 'silence', subject: subjectOf(table.demand(id, now())), detail: `for ${minutes} min` }
      const changed = table.silence(id, sessionOf(request).name, (now() + minutes * 60_000_000) as Moment, now())
      alarms.changed(id)
      return changed
    },
  )

  http.delete(
    '/api/alarms/:id/silence',
    {
      config: { needs: 'acknowledge' },
      schema: {
        summary: 'It is sent again; what lasts and was not sent is sent now',
        params: one,
        response: { 200: alarm },
      },
    },
    async (request) => {
      const { id } = request.params
      request.told = { action: 'silence', subject: subjectOf(table.demand(id, now())), detail: 'no longer' }
      const changed = table.silence(id, sessionOf(request).name, undefined, now())
      alarms.changed(id)
      return changed
    },
  )

  http.get(
    '/api/thresholds',
    {
      config: { needs: 'see' },
      schema: { summary: 'From when on something is an alarm', response: { 200: thresholdsAnswer } },
    },
    async () => ({ everything: set.everything(), systems: set.systems() }),
  )

  http.put(
    '/api/thresholds',
    {
      config: { needs: 'channels' },
      schema: {
        summary: 'Set those of everything, or, with "system", of one system',
        body: thresholds,
        response: { 200: thresholds },
      },
    },
    async (request) => {
      const { system } = request.body
      request.told = { action: 'thresholds', subject: system ?? 'everything', detail: JSON.stringify(request.body) }
      if (system !== undefined && set.systems().every((known) => known.system !== system))
        demandRoom(set.systems().length)
      set.put(request.body)
      return request.body
    },
  )

  http.delete(
    '/api/thresholds/:system',
    {
      config: { needs: 'channels' },
      schema: { summary: 'The system is as everything again', params: ofSystem },
    },
    async (request) => {
      request.told = { action: 'thresholds', subject: request.params.system, detail: 'as everything' }
      set.remove(request.params.system)
      return {}
    },
  )
}

/** Systems with thresholds of their own. */
const systemsMax = 4096

function demandRoom(count: number): void {
  if (count < systemsMax) return
  throw new TidemarkError('not-allowed', {
    message: `${systemsMax} systems have thresholds of their own already`,
    hint: 'remove those of systems that are no more',
  })
}

const subjectOf = ({ rule, message }: z.infer<typeof alarm>): string => `${rule}: ${message}`
