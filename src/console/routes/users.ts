import { z } from 'zod'
import { newUser, user, userAnswer, userChange, userName } from '../../api/console.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import { accountKey } from '../accounts.ts'
import type { Context } from '../context.ts'
import { generatePassword } from '../passwords.ts'

const named = z.object({ user: userName })

/** Who may use the console. Accounts are disabled, never removed, so that a name in the audit log is one person for ever. */
export function userRoutes(http: Http, { accounts, sessions, tries, random }: Context): void {
  http.get(
    '/api/users',
    { config: { needs: 'users' }, schema: { summary: 'The accounts', response: { 200: z.array(user) } } },
    async () => accounts.list(),
  )

  http.post(
    '/api/users',
    {
      config: { needs: 'users' },
      schema: {
        summary: 'Make an account; its password is told once and must be changed at the first sign-in',
        body: newUser,
        response: { 200: userAnswer },
      },
    },
    async (request) => {
      const { name, role } = request.body
      request.told = { action: 'users', subject: name, detail: `make as ${role}` }
      const password = generatePassword(random)
      await accounts.add({ name, role, password })
      return { user: accounts.user(name), password }
    },
  )

  http.patch(
    '/api/users/:user',
    {
      config: { needs: 'users' },
      schema: {
        summary: 'Change a role, disable or enable, make a new password, forget an authenticator; ends its sessions',
        params: named,
        body: userChange,
        response: { 200: userAnswer },
      },
    },
    async (request) => {
      const { user: name } = request.params
      const { role, enabled, resetPassword, resetTotp } = request.body
      request.told = { action: 'users', subject: name, detail: whatChanges(request.body) }
      if (request.asker.kind === 'user' && accountKey(request.asker.name) === accountKey(name)) {
        throw new TidemarkError('not-allowed', {
          message: 'nobody changes his own account so',
          hint: 'another security administrator can; your password and authenticator you change as your own',
        })
      }
      const password = resetPassword === true ? generatePassword(random) : undefined
      const { key } = await accounts.change(name, { role, enabled, password, resetTotp })
      if (password !== undefined) tries.forget(key)
      sessions.endAll(key)
      return { user: accounts.user(name), ...(password === undefined ? {} : { password }) }
    },
  )
}

function whatChanges({ role, enabled, resetPassword, resetTotp }: z.infer<typeof userChange>): string {
  const all = [
    ...(role === undefined ? [] : [`role ${role}`]),
    ...(enabled === undefined ? [] : [enabled ? 'enable' : 'disable']),
    ...(resetPassword === undefined ? [] : ['new password']),
    ...(resetTotp === undefined ? [] : ['forget the authenticator']),
  ]
  return all.join(', ')
}
