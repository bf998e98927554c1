import { z } from 'zod'
import { type Channel, channel, channelRequest, channelTested } from '../../api/console.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import { gone } from '../../http/streams.ts'
import type { Moment } from '../../model/moment.ts'
import type { Context } from '../context.ts'

const one = z.object({ id: z.string().min(1).max(64) })

/** Where alarms are sent. */
export function channelRoutes(http: Http, { alarms, clock }: Context): void {
  const { channels, courier } = alarms

  http.get(
    '/api/channels',
    {
      config: { needs: 'channels' },
      schema: { summary: 'The channels and how they do, without secrets', response: { 200: z.array(channel) } },
    },
    async () => channels.list(),
  )

  http.post(
    '/api/channels',
    {
      config: { needs: 'channels' },
      schema: { summary: 'Add a channel', body: channelRequest, response: { 200: channel } },
    },
    async (request) => {
      request.told = { action: 'channels', subject: request.body.name, detail: 'add' }
      const added = channels.add(request.body, clock.now() as Moment)
      request.told = { action: 'channels', subject: added.name, detail: `added: ${describe(added)}` }
      return added
    },
  )

  http.put(
    '/api/channels/:id',
    {
      config: { needs: 'channels' },
      schema: {
        summary: 'Change a channel; a secret or address that is left out stays',
        params: one,
        body: channelRequest,
        response: { 200: channel },
      },
    },
    async (request) => {
      request.told = { action: 'channels', subject: request.body.name, detail: 'change' }
      const changed = channels.change(request.params.id, request.body)
      request.told = { action: 'channels', subject: changed.name, detail: `changed: ${describe(changed)}` }
      courier.wake()
      return changed
    },
  )

  http.delete(
    '/api/channels/:id',
    {
      config: { needs: 'channels' },
      schema: { summary: 'Remove a channel, and what waits for it', params: one },
    },
    async (request) => {
      const { name } = channels.demand(request.params.id)
      request.told = { action: 'channels', subject: name, detail: 'removed' }
      channels.remove(request.params.id)
      return {}
    },
  )

  http.post(
    '/api/channels/:id/test',
    {
      config: { needs: 'channels' },
      schema: {
        summary: 'Send a message that says it is a test, now, and tell what became of it',
        params: one,
        response: { 200: channelTested },
      },
    },
    async (request, reply) => {
      const { name } = channels.demand(request.params.id)
      const began = clock.monotonicMs()
      const outcome = await courier.test(request.params.id, gone(request, reply)).then(
        () => ({ taken: true }),
        (error: unknown) => ({ taken: false, error: told(error) }),
      )
      const detail = 'error' in outcome ? `not taken: ${outcome.error.message}` : 'taken'
      request.told = { action: 'channels', subject: name, detail: `test: ${detail}` }
      return { ...outcome, ms: Math.round(clock.monotonicMs() - began) }
    },
  )
}

function told(error: unknown): { code: string; message: string; hint?: string } {
  if (!(error instanceof TidemarkError)) return { code: 'failed', message: messageOf(error) }
  const { code, message, hint } = error
  return { code, message, ...(hint === undefined ? {} : { hint }) }
}

const describe = ({ kind, host, severities, enabled }: Channel): string =>
  `${kind} at ${host}, ${severities.join(' ')}, ${enabled ? 'enabled' : 'disabled'}`
