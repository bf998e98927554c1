import type { z } from 'zod'
import { enrolAnswer, enrolRequest, renewRequest, tokenAnswer, tokenRequest } from '../../api/schemas.ts'
import { isCode, TidemarkError } from '../../base/errors.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import type { Id } from '../../model/source.ts'
import type { Agent } from '../../vault/registry.ts'
import { formatToken, newEnrolment, proofText, replacingSecret } from '../../wire/enrolment.ts'
import { issueFromCsr, publicKeyFingerprint, serialOf, signerOf } from '../../wire/pki.ts'
import { agentNamed, demandAtVault, demandOperator } from '../access.ts'
import type { Context } from '../context.ts'
import type { Http } from '../../http/server.ts'

/** Serial numbers remembered of one agent. */
const certificatesKeptMax = 8

/** Tokens, enrolment and renewal of certificates. */
export function enrolmentRoutes(http: Http, { vault, credentials, address, clock, random }: Context): void {
  const { registry } = vault
  const now = (): Moment => clock.now() as Moment

  http.post(
    '/v1/tokens',
    { schema: { summary: 'A one-time enrolment token', body: tokenRequest, response: { 200: tokenAnswer } } },
    async (request) => {
      demandOperator(request.caller)
      const { validMs, replaces: wanted } = request.body
      // Whoever takes the place of an agent reads what that protects: a console's duty of servers is not to read contents.
      if (wanted !== undefined) demandAtVault(request.caller)
      const replaces = wanted === undefined ? undefined : notRevoked(agentNamed(registry, wanted)).id
      const { secret, open } = newEnrolment(now(), validMs, random)
      const text = secret.toString('base64url')
      const kept = replaces === undefined ? text : replacingSecret(text, replaces)
      await registry.addToken({ secret: kept, created: now(), expires: open.expires })
      const authority = publicKeyFingerprint(credentials.authority.certificate)
      const token = formatToken({ authority, secret, address, replaces })
      return { token, expires: isoMoment(open.expires) }
    },
  )

  http.post(
    '/v1/enrol',
    { schema: { summary: 'Enrol a server with a token', body: enrolRequest, response: { 200: enrolAnswer } } },
    async (request) => {
      const { secret, name, csr, replaces } = request.body
      if (replaces !== undefined) return enrolAgain(notRevoked(registry.agent(replaces as Id)), request.body)
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
      return { agent, name, vault: vault.id, certificate, ca: credentials.authority.certificate }
    },
  )

  /**
   * An agent whose certificate has expired proves that it is that agent by the key it had. One that has lost its key,
   * or its machine, is let in by a token that was made for it; then its earlier keys prove nothing more.
   */
  const enrolAgain = async ({ id, name, certificates }: Agent, request: z.infer<typeof enrolRequest>) => {
    const { secret, csr } = request
    const certificate = await issueFromCsr(credentials.authority, csr, id, now(), random)
    const isReplacing = await usedToReplace(id, secret)
    if (!isReplacing) {
      const signer =
        request.proof &&
        signerOf(credentials.authority.certificate, id, request.proof, proofText({ agent: id, secret, csr }))
      if (signer === undefined || !certificates.includes(signer)) throw unproven(name)
      await registry.useToken(secret, id, now())
    }
    const kept = isReplacing ? [] : certificates.slice(1 - certificatesKeptMax)
    await registry.changeAgent(id, { certificates: [...kept, serialOf(certificate)] })
    return { agent: id, name, vault: vault.id, certificate, ca: credentials.authority.certificate }
  }

  const usedToReplace = async (agent: Id, secret: string): Promise<boolean> => {
    try {
      await registry.useToken(replacingSecret(secret, agent), agent, now())
      return true
    } catch (error) {
      if (isCode(error, 'token-refused')) return false
      throw error
    }
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
      const { certificates, name } = registry.agent(caller.agent)
      await registry.changeAgent(caller.agent, {
        certificates: [...certificates.slice(1 - certificatesKeptMax), serialOf(certificate)],
      })
      return { agent: caller.agent, name, vault: vault.id, certificate, ca: credentials.authority.certificate }
    },
  )
}

function notRevoked(agent: Agent): Agent {
  if (!agent.revoked) return agent
  throw new TidemarkError('not-allowed', {
    message: `the agent "${agent.name}" has been revoked`,
    hint: 'enrol this server as a new agent, with another directory; the token is still good',
  })
}

const unproven = (name: string): TidemarkError =>
  new TidemarkError('not-allowed', {
    message: `that this server is the agent "${name}" is not proven: its directory holds no key of that agent`,
    hint: `make a token for it with "tidemark vault token --replaces ${name}" at the vault; this one is still good for another server`,
  })
