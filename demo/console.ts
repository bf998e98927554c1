import { randomInt } from 'node:crypto'
import type { Site } from './site.ts'
import { until } from './screen.ts'

export interface OpenConsole {
  readonly url: string
  readonly logins: readonly { readonly user: string; readonly role: string; readonly password: string }[]
}

/** A console over the running demonstration; the passwords that it made are changed, as each user does at his first sign-in. */
export async function openConsole(site: Site): Promise<OpenConsole> {
  const { url, accounts } = await site.openConsole()
  await until('console', async () => (await fetch(`${url}/api/health`).catch(() => undefined))?.ok === true)
  const logins = []
  for (const { name, role, password: first } of accounts) {
    const password = readablePassword()
    await changePassword(url, name, first, password)
    logins.push({ user: name, role, password })
  }
  return { url, logins }
}

async function changePassword(url: string, user: string, old: string, wanted: string): Promise<void> {
  const post = async (path: string, body: object, headers: Record<string, string> = {}): Promise<Response> => {
    const answer = await fetch(`${url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'origin': url, ...headers },
      body: JSON.stringify(body),
    })
    if (!answer.ok) throw new Error(`the console answers ${path} with ${answer.status}: ${await answer.text()}`)
    return answer
  }
  const signedIn = await post('/api/sign-in', { user, password: old })
  const { csrf } = (await signedIn.json()) as { csrf: string }
  const cookie = signedIn.headers
    .getSetCookie()
    .map((one) => one.split(';')[0])
    .join('; ')
  await post('/api/me/password', { old, new: wanted }, { cookie, 'x-tidemark-csrf': csrf })
}

/** To be typed from a screen: no letter is taken for another one. */
function readablePassword(): string {
  const letters = 'abcdefghijkmnpqrstuvwxyz23456789'
  const group = (): string => Array.from({ length: 4 }, () => letters[randomInt(letters.length)]).join('')
  return `${group()}-${group()}-${group()}`
}

export const describeConsole = ({ url, logins }: OpenConsole): string => `
The console is open at ${url}
${logins.map(({ user, role, password }) => `  ${user.padEnd(10)}  ${password}  ${role}`).join('\n')}
`
