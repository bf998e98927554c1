import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { type Me, me, passwordChange, signInRequest, totpBegun, totpConfirm } from '../../api/console.ts'
import { assert } from '../../base/assert.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import { accountKey, wrongCode } from '../accounts.ts'
import type { Context } from '../context.ts'
import { roleActions } from '../roles.ts'
import { sessionOf, setCookie } from '../server.ts'
import type { Session } from '../sessions.ts'
import type { Tries } from '../tries.ts'

type Attempt = ReturnType<Tries['begin']>

/** Signing in and out, and what everybody does with his own account. */
export function sessionRoutes(http: Http, context: Context, isHttps: boolean): void {
  const { accounts, sessions, tries } = context

  const meOf = (name: string, session: Session): Me => {
    const { role, hasTotp, mustChange } = accounts.demand(name)
    return {
      user: name,
      role,
      csrf: session.csrf,
      hasTotp,
      mustChangePassword: mustChange,
      actions: [...roleActions[role]],
    }
  }

  http.post(
    '/api/sign-in',
    {
      config: { needs: 'open' },
      schema: { summary: 'Begin a session: a cookie', body: signInRequest, response: { 200: me } },
    },
    async (request, reply) => {
      const { user, password, code } = request.body
      const address = addressOf(request)
      // Of an unknown name nothing is written: people type their password there.
      const known = accounts.find(user)?.name
      request.told = {
        action: 'sign-in',
        subject: known ?? 'an unknown name',
        ...(known === undefined ? {} : { user: known }),
      }
      const attempt = tries.begin(accountKey(user), address)
      if (!(await matches(attempt, user, password))) throw refused()
      const { name, key, hasTotp } = accounts.demand(user)
      if (hasTotp && code === undefined) {
        attempt.uncounted()
        throw new TidemarkError('code-needed', {
          message: 'the code of the authenticator is needed',
          hint: 'give the six digits that it shows now',
        })
      }
      if (hasTotp && code !== undefined && !accounts.useCode(name, code)) throw refused()
      attempt.succeeded()
      accounts.signedIn(name)
      const { token, session } = sessions.begin(key, address)
      setCookie(reply, token, isHttps)
      return meOf(name, session)
    },
  )

  http.post(
    '/api/sign-out',
    { config: { needs: 'own' }, schema: { summary: 'End the session', body: z.object({}).nullish() } },
    async (request, reply) => {
      const { session } = sessionOf(request)
      request.told = { action: 'sign-out', subject: sessionOf(request).name }
      sessions.end(session.hash)
      setCookie(reply, undefined, isHttps)
      return {}
    },
  )

  http.post(
    '/api/sign-out-everywhere',
    {
      config: { needs: 'own' },
      schema: { summary: 'End all sessions of the account', body: z.object({}).nullish() },
    },
    async (request, reply) => {
      const { session, name } = sessionOf(request)
      request.told = { action: 'sign-out-everywhere', subject: name }
      sessions.endAll(session.account)
      setCookie(reply, undefined, isHttps)
      return {}
    },
  )

  http.get(
    '/api/me',
    {
      config: { needs: 'open' },
      schema: { summary: 'Who is signed in, and what he may do; null: nobody', response: { 200: me.nullable() } },
    },
    async ({ asker }) => {
      if (asker.kind !== 'user') return null
      sessions.used(asker.session)
      return meOf(asker.name, asker.session)
    },
  )

  http.post(
    '/api/me/password',
    {
      config: { needs: 'own' },
      schema: {
        summary: 'Take another password; the other sessions of the account end',
        body: passwordChange,
        response: { 200: me },
      },
    },
    async (request) => {
      const { name, session } = sessionOf(request)
      request.told = { action: 'password', subject: name }
      await demandOwnPassword(request, request.body.old)
      await accounts.changeOwnPassword(name, request.body.new)
      sessions.endAll(session.account, session)
      return meOf(name, session)
    },
  )

  http.post(
    '/api/me/totp',
    {
      config: { needs: 'signed-in' },
      schema: {
        summary: 'A secret for an authenticator; in force once a code of it is confirmed',
        body: z.object({}).nullish(),
        response: { 200: totpBegun },
      },
    },
    async (request) => {
      const { name } = sessionOf(request)
      request.told = { action: 'totp-begin', subject: name }
      return accounts.beginTotp(name)
    },
  )

  http.post(
    '/api/me/totp/confirm',
    {
      config: { needs: 'signed-in' },
      schema: { summary: 'Switch the authenticator on', body: totpConfirm, response: { 200: me } },
    },
    async (request) => {
      const { name, session } = sessionOf(request)
      request.told = { action: 'totp-on', subject: name }
      const attempt = tries.begin(accountKey(name), addressOf(request))
      accounts.confirmTotp(name, request.body.code)
      // A code is no password: what was guessed at that stays counted.
      attempt.uncounted()
      return meOf(name, session)
    },
  )

  http.delete(
    '/api/me/totp',
    {
      config: { needs: 'signed-in' },
      schema: { summary: 'Switch the authenticator off, by a code of it', body: totpConfirm, response: { 200: me } },
    },
    async (request) => {
      const { name, session } = sessionOf(request)
      request.told = { action: 'totp-off', subject: name }
      const attempt = tries.begin(accountKey(name), addressOf(request))
      if (!accounts.useCode(name, request.body.code)) throw wrongCode()
      attempt.uncounted()
      accounts.disableTotp(name)
      return meOf(name, session)
    },
  )

  const demandOwnPassword = async (request: FastifyRequest, password: string): Promise<void> => {
    const { name } = sessionOf(request)
    const attempt = tries.begin(accountKey(name), addressOf(request))
    if (!(await matches(attempt, name, password))) throw refused()
    attempt.succeeded()
  }

  /** A password that there was no time to look at is not a wrong one. */
  const matches = async (attempt: Attempt, name: string, password: string): Promise<boolean> => {
    try {
      return await accounts.passwordMatches(name, password)
    } catch (error) {
      attempt.uncounted()
      throw error
    }
  }
}

function addressOf({ asker }: FastifyRequest): string {
  assert(asker.kind !== 'machine', 'nobody signs in at the socket')
  return asker.address
}

const refused = (): TidemarkError =>
  new TidemarkError('sign-in-refused', {
    message: 'no account has that name and password, or it is disabled, or the code is not that of this moment',
    hint: 'try again; a security administrator can set a new password',
  })
