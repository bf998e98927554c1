import { z } from 'zod'
import { agentChange, agentDetails, type AgentDetails } from '../../api/tasks.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import { type BandwidthLimit, limitAt, lower } from '../../model/bandwidth.ts'
import { isoMoment } from '../../model/moment.ts'
import type { Agent } from '../../vault/registry.ts'
import { agentNamed, demandOperator } from '../access.ts'
import { lagBytes } from '../answers.ts'
import type { Context } from '../context.ts'

const which = z.object({ agent: z.string() })

/** The enrolled servers: how they do, what they may send, and whether they are let in. */
export function agentRoutes(http: Http, context: Context): void {
  const { vault, tasks } = context
  const { registry } = vault

  http.get(
    '/v1/agents',
    { schema: { summary: 'The enrolled servers', response: { 200: z.array(agentDetails) } } },
    async (request) => {
      demandOperator(request.caller)
      return registry.agents.map((agent) => detailsOf(agent, context))
    },
  )

  http.get(
    '/v1/agents/:agent',
    { schema: { summary: 'One server', params: which, response: { 200: agentDetails } } },
    async (request) => {
      demandOperator(request.caller)
      return detailsOf(agentNamed(registry, request.params.agent), context)
    },
  )

  http.patch(
    '/v1/agents/:agent',
    {
      schema: {
        summary: 'Limit what a server sends, by time of day',
        description:
          'It holds at once while the server is connected, else from its next connection on. What is limited on the server itself stays: the lower holds.',
        params: which,
        body: agentChange,
        response: { 200: agentDetails },
      },
    },
    async (request) => {
      demandOperator(request.caller)
      const { id, revoked, name } = agentNamed(registry, request.params.agent)
      if (revoked)
        throw new TidemarkError('not-allowed', {
          message: `the agent "${name}" has been revoked`,
          hint: 'it sends nothing any more',
        })
      const limits = told(request.body.limits)
      const changed = await registry.changeAgent(id, { limits })
      tasks.tell(id, { kind: 'limits', limits })
      return detailsOf(changed, context)
    },
  )

  http.post(
    '/v1/agents/:agent/revoke',
    { schema: { summary: 'Admit an agent no more', params: which } },
    async (request) => {
      demandOperator(request.caller)
      const { id } = await registry.changeAgent(agentNamed(registry, request.params.agent).id, { revoked: true })
      tasks.revoked(id)
      return {}
    },
  )
}

function detailsOf(
  { id, name, revoked, enrolled, limits = [] }: Agent,
  { vault, live, clock }: Pick<Context, 'vault' | 'live' | 'clock'>,
): AgentDetails {
  const sources = vault.registry.sources.filter(({ agent, retired }) => agent === id && retired === undefined)
  const nowMs = clock.monotonicMs()
  const bytesPerSecond = sum(sources.map((one) => live.source(one.id).meter.rates(nowMs).bytesPerSecond))
  const backlogBytes = sum(
    sources.map((one) => lagBytes(live.source(one.id).meter.report, vault.journal(one.id).durable)),
  )
  const met = live.agent(id)
  const limitsOnServer = met?.server?.limits ?? []
  const at = clock.now() / 1000
  const ahead = met?.server?.minutesAhead
  return {
    id,
    name,
    connected: live.isConnected(id),
    revoked,
    enrolled: isoMoment(enrolled),
    software: met?.software ?? null,
    lastContact: met === undefined ? null : isoMoment(met.lastContact),
    address: met?.address ?? null,
    certificateExpires: met?.certificateExpires === undefined ? null : isoMoment(met.certificateExpires),
    roundTripMs: met?.roundTripMs() ?? null,
    bytesPerSecond,
    limits: told(limits),
    limitsOnServer: told(limitsOnServer),
    limitNow: lower(limitAt(limits, at, ahead), limitAt(limitsOnServer, at, ahead)) ?? null,
    backlogBytes,
    secondsToCatchUp: backlogBytes === 0 ? 0 : bytesPerSecond > 0 ? backlogBytes / bytesPerSecond : null,
    sources: sources.map((one) => one.name),
  }
}

const told = (limits: readonly BandwidthLimit[]): AgentDetails['limits'] =>
  limits.map(({ days, ...limit }) => ({ ...limit, ...(days === undefined ? {} : { days: [...days] }) }))

const sum = (values: readonly number[]): number => values.reduce((total, one) => total + one, 0)
