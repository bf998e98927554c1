import { X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { agentRecord, enrolAnswer, enrolRequest, renewRequest, tokenAnswer, tokenRequest } from '../../api/schemas.ts'
import { TidemarkError } from '../../base/errors.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import type { Id } from '../../model/source.ts'
import type { Agent } from '../../vault/registry.ts'
import { formatToken, newEnrolment } from '../../wire/enrolment.ts'
import { issueFromCsr, publicKeyFingerprint } from '../../wire/pki.ts'
import { demandOperator } from '../access.ts'
import type { Context } from '../context.ts'
import type { Http } from '../http.ts'

/** Serial numbers remembered of one agent. */
const certificatesKeptMax = 8

const serialOf = (certificate: string): string => new X509Certificate(certificate).serialNumber

/** Tokens, enrolment, renewal of certificates, and the enrolled agents. */
export function enrolmentRoutes(http: Http, { vault, live, credentials, address, clock, random }: Context): void {
  const { registry } = vault
  const now = (): Moment => clock.now() as Moment

  http.post(
    '/v1/tokens',
    { schema: { summary: 'A one-time enrolment token', body: tokenRequest, response: { 200: tokenAnswer } } },
    async (request) => {
      demandOperator(request.caller)
      const { secret, open } = newEnrolment(now(), request.body.validMs, random)
      await registry.addToken({ secret: secret.toString('base64url'), created: now(), expires: open.expires })
      const token = formatToken({ authority: publicKeyFingerprint(credentials.authority.certificate), secret, address })
      return { token, expires: isoMoment(open.expires) }
    },
  )

  http.post(
    '/v1/enrol',
    { schema: { summary: 'Enrol a server with a token', body: enrolRequest, response: { 200: enrolAnswer } } },
    async (request) => {
      const { secret, name, csr, replaces } = request.body
      if (replaces !== undefined) return enrolAgain(registry.agent(replaces as Id), secret, csr)
      if (registry.agents.some((agent) => agent.name === name && !agent.revoked)) {
        throw new TidemarkError('already-exists', {
          message: `an agent named "${name}" is enrolled already`,
          hint: 'give another name with --name; the token is still good',
        })
      }
      const agent = Buffer.from(random.bytes(16)).toString('hex') as Id
      const certificate = await issueFromCsr(credentials.authority, csr, agent, now(), random)
      // Spent before the agent is let in: a token is good once.
      await registry.useToken(secret, agent, now())
      await registry.addAgent({ id: agent, name, certificates: [serialOf(certificate)], enrolled: now() })
      return { agent, vault: vault.id, certificate, ca: credentials.authority.certificate }
    },
  )

  /** An agent whose certificate has expired or was lost: the token is what lets it in. */
  const enrolAgain = async ({ id, name, revoked }: Agent, secret: string, csr: string) => {
    if (revoked)
      throw new TidemarkError('not-allowed', {
        message: `the agent "${name}" has been revoked`,
        hint: 'enrol this server as a new agent, with another directory; the token is still good',
      })
    const certificate = await issueFromCsr(credentials.authority, csr, id, now(), random)
    await registry.useToken(secret, id, now())
    await registry.changeAgent(id, { certificates: [serialOf(certificate)] })
    return { agent: id, vault: vault.id, certificate, ca: credentials.authority.certificate }
  }

  http.post(
    '/v1/renew',
    {
      schema: { summary: 'A new certificate for the asking agent', body: renewRequest, response: { 200: enrolAnswer } },
    },
    async (request) => {
      const { caller } = request
      if (caller.kind !== 'agent')
        throw new TidemarkError('not-allowed', { message: 'only an agent renews its certificate' })
      const certificate = await issueFromCsr(credentials.authority, request.body.csr, caller.agent, now(), random)
      const { certificates } = registry.agent(caller.agent)
      await registry.changeAgent(caller.agent, {
        certificates: [...certificates.slice(1 - certificatesKeptMax), serialOf(certificate)],
      })
      return { agent: caller.agent, vault: vault.id, certificate, ca: credentials.authority.certificate }
    },
  )

  http.get(
    '/v1/agents',
    { schema: { summary: 'The enrolled servers', response: { 200: z.array(agentRecord) } } },
    async (request) => {
      demandOperator(request.caller)
      return registry.agents.map(({ id, name, revoked }) => ({
        id,
        name,
        revoked,
        connected: live.isConnected(id),
        sources: registry.sources.filter((source) => source.agent === id).map((source) => source.name),
      }))
    },
  )

  http.post(
    '/v1/agents/:agent/revoke',
    { schema: { summary: 'Admit an agent no more', params: z.object({ agent: z.string() }) } },
    async (request) => {
      demandOperator(request.caller)
      const agent = registry.agents.find((one) => one.id === request.params.agent || one.name === request.params.agent)
      if (!agent)
        throw new TidemarkError('not-found', {
          message: `there is no agent "${request.params.agent}"`,
          hint: '"tidemark agents" lists them',
        })
      await registry.changeAgent(agent.id, { revoked: true })
      return {}
    },
  )
}
