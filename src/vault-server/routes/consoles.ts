import { z } from 'zod'
import { consoleEnrolAnswer, consoleEnrolRequest, consoleRecord, consoleTokenRequest } from '../../api/consoles.ts'
import { renewRequest, tokenAnswer } from '../../api/schemas.ts'
import { TidemarkError } from '../../base/errors.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import type { Id } from '../../model/source.ts'
import type { Console } from '../../vault/registry.ts'
import { consoleSecret, formatToken, newEnrolment } from '../../wire/enrolment.ts'
import { issueFromCsr, publicKeyFingerprint, serialOf } from '../../wire/pki.ts'
import { demandAtVault, demandOperator } from '../access.ts'
import type { Context } from '../context.ts'
import type { Http } from '../../http/server.ts'

/** The one before is good until the newer one has been used. */
const certificatesKeptMax = 2

/** Consoles: tokens for them, enrolment, renewal, and which there are. */
export function consoleRoutes(http: Http, { vault, live, credentials, address, clock, random }: Context): void {
  const { registry } = vault
  const now = (): Moment => clock.now() as Moment

  const issue = async (which: Id, csr: string): Promise<{ certificate: string; serial: string }> => {
    const certificate = await issueFromCsr(credentials.authority, csr, which, now(), random)
    return { certificate, serial: serialOf(certificate) }
  }
  const answer = (which: Console, certificate: string): z.infer<typeof consoleEnrolAnswer> => ({
    console: which.id,
    name: which.name,
    vault: vault.id,
    vaultName: registry.name,
    certificate,
    ca: credentials.authority.certificate,
  })

  http.post(
    '/v1/consoles/tokens',
    {
      schema: {
        summary: 'A one-time token that lets a console in',
        body: consoleTokenRequest,
        response: { 200: tokenAnswer },
      },
    },
    async (request) => {
      demandAtVault(request.caller)
      const { secret, open } = newEnrolment(now(), request.body.validMs, random)
      const kept = consoleSecret(secret.toString('base64url'))
      await registry.addToken({ secret: kept, created: now(), expires: open.expires })
      const authority = publicKeyFingerprint(credentials.authority.certificate)
      return {
        token: formatToken({ authority, secret, address, isForConsole: true }),
        expires: isoMoment(open.expires),
      }
    },
  )

  http.post(
    '/v1/consoles',
    {
      schema: {
        summary: 'Let a console in with a token',
        body: consoleEnrolRequest,
        response: { 200: consoleEnrolAnswer },
      },
    },
    async (request) => {
      const { secret, name, csr } = request.body
      if (registry.consoles.some((one) => one.name === name && !one.revoked)) {
        throw new TidemarkError('already-exists', {
          message: `a console named "${name}" is let in already`,
          hint: 'give this one another name, or revoke that one at the vault; the token is still good',
        })
      }
      const which = Buffer.from(random.bytes(16)).toString('hex') as Id
      const { certificate, serial } = await issue(which, csr)
      // Spent before the console is let in: a token is good once.
      await registry.useToken(consoleSecret(secret), which, now())
      return answer(
        await registry.addConsole({ id: which, name, certificates: [serial], enrolled: now() }),
        certificate,
      )
    },
  )

  http.post(
    '/v1/consoles/renew',
    {
      schema: {
        summary: 'A new certificate for the asking console',
        body: renewRequest,
        response: { 200: consoleEnrolAnswer },
      },
    },
    async (request) => {
      const { caller } = request
      const before = caller.kind === 'console' && registry.consoles.find(({ id }) => id === caller.console)
      if (!before) throw new TidemarkError('not-allowed', { message: 'only a console renews its certificate' })
      const { certificate, serial } = await issue(before.id, request.body.csr)
      const certificates = [...before.certificates.slice(1 - certificatesKeptMax), serial]
      return answer(await registry.changeConsole(before.id, { certificates }), certificate)
    },
  )

  http.get(
    '/v1/consoles',
    { schema: { summary: 'The consoles that are let in', response: { 200: z.array(consoleRecord) } } },
    async (request) => {
      demandOperator(request.caller)
      return registry.consoles.map(({ id, name, revoked, enrolled }) => ({
        id,
        name,
        revoked,
        enrolled: isoMoment(enrolled),
        connected: live.isConnected(id),
      }))
    },
  )

  http.post(
    '/v1/consoles/:console/revoke',
    { schema: { summary: 'Let a console in no more', params: z.object({ console: z.string() }) } },
    async (request) => {
      demandAtVault(request.caller)
      const { console: wanted } = request.params
      const which = registry.consoles.find(({ id, name, revoked }) => id === wanted || (name === wanted && !revoked))
      if (which === undefined) {
        throw new TidemarkError('not-found', {
          message: `there is no console "${wanted}"`,
          hint: '"tidemark vault consoles" lists them',
        })
      }
      await registry.changeConsole(which.id, { revoked: true })
      return {}
    },
  )
}
