import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { openConsole } from '../demo/console.ts'
import { openOffice } from '../demo/office.ts'
import { accident, protect, work } from '../demo/protected-office.ts'
import { restore } from '../demo/restored-office.ts'
import { Site } from '../demo/site.ts'
import type { Action } from '../src/api/console.ts'
import { vaultStatus } from '../src/api/schemas.ts'
import { type TaskBody, taskRecord } from '../src/api/tasks.ts'
import { roleActions } from '../src/console/roles.ts'
import { socketApiClient } from '../src/wire/http-client.ts'
import { type Language, Screen } from '../test/e2e/console-harness.ts'

/**
 * Every page of the console over the demonstration, in both languages, into docs/screenshots:
 *
 *   npm run screenshots
 *
 * A vault, an agent, a PostgreSQL server and a directory at work, an accident and a restore, as `npm run demo` has them.
 */
const folder = join(import.meta.dirname, '../docs/screenshots')
const viewport = { width: 1366, height: 768 }
/** What is drawn from what the vault tells a moment later is there by then. */
const quietMs = 2_500

interface Shot {
  readonly name: string
  readonly path: string
  readonly action: Action
  /** Of what is shown; below it stands what this machine has besides. */
  readonly heightMax?: number
}

const site = new Site()
try {
  await site.open()
  const office = await openOffice(site)
  await protect(site, office)
  await work(site, office)
  const lastGood = await accident(site, office)
  await restore(site, office, lastGood)
  const { url, logins } = await openConsole(site)
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
  const vault = socketApiClient(join(site.home, 'vault', 'api.sock'))
  const status = await vault.json('GET', '/v1/status', vaultStatus)
  const documents = status.sources.find(({ name }) => name === 'documents')
  if (documents === undefined) throw new Error('the demonstration protects its documents no more')
  const system = documents.system ?? documents.name
  const at = encodeURIComponent(documents.covered ?? '')
  const restored = await workAsOperator()
  const shots: readonly Shot[] = [
    { name: 'overview', path: '/', action: 'see' },
    { name: 'wall', path: '/wall', action: 'see' },
    { name: 'systems', path: '/systems', action: 'see' },
    { name: 'system', path: `/systems/${system}?at=${at}`, action: 'contents' },
    { name: 'browse', path: `/browse/${status.id}/${documents.id}`, action: 'contents' },
    { name: 'restore', path: `/restore?system=${system}`, action: 'restore' },
    { name: 'tasks', path: `/tasks?vault=${status.id}&task=${restored}`, action: 'see' },
    { name: 'servers', path: '/servers', action: 'servers' },
    { name: 'server', path: `/servers/${status.id}/${documents.agent.id}`, action: 'protect' },
    { name: 'protect', path: `/servers/${status.id}/${documents.agent.id}?protect`, action: 'protect', heightMax: 405 },
    { name: 'vaults', path: '/vaults', action: 'vaults' },
    { name: 'vault', path: `/vaults/${status.id}`, action: 'see' },
    { name: 'alarms', path: '/alarms', action: 'acknowledge' },
    { name: 'reports', path: `/reports?system=${system}`, action: 'see' },
    { name: 'users', path: '/users', action: 'users' },
    { name: 'audit', path: '/audit', action: 'audit' },
    { name: 'account', path: '/account', action: 'see' },
  ]
  mkdirSync(folder, { recursive: true })
  for (const language of ['en', 'zh-CN'] as const) {
    await shoot('sign-in', await open(language))
    for (const { user, role, password } of logins) {
      const mine = shots.filter(({ action }) => offeredTo(action) === role)
      if (mine.length === 0) continue
      const screen = await open(language)
      await screen.signIn(user, password)
      for (const { name, path, heightMax } of mine) await shoot(name, screen, path, heightMax)
      await screen.close()
    }
  }
  await browser.close()

  /** Verifies both sources and restores one, over the console; told is the task that restored. */
  async function workAsOperator(): Promise<string> {
    const screen = await open('en')
    const operator = logins.find(({ role }) => role === 'operator')
    await screen.signIn(operator?.user ?? '', operator?.password ?? '')
    const tasks = `/api/vaults/${status.id}/v1/tasks`
    const bodies: readonly TaskBody[] = [
      ...status.sources.map(({ name }) => ({ kind: 'verify' as const, source: name, at: 'latest' })),
      {
        kind: 'restore',
        agent: documents?.agent.name ?? '',
        source: 'documents',
        at: 'latest',
        to: join(site.home, 'by-the-console'),
        paths: [],
        start: false,
      },
    ]
    let last = ''
    for (const body of bodies) {
      const { id } = taskRecord.parse((await screen.ask('POST', tasks, body)).body)
      for (let state = 'waiting'; state !== 'done'; await screen.page.waitForTimeout(200)) {
        const task = taskRecord.parse((await screen.ask('GET', `${tasks}/${id}`)).body)
        if (task.state === 'failed') throw new Error(`${body.kind} failed: ${JSON.stringify(task)}`)
        state = task.state
      }
      last = id
    }
    await screen.close()
    return last
  }

  async function open(language: Language): Promise<Screen> {
    return Screen.open(await browser.newContext({ viewport, locale: language, reducedMotion: 'reduce' }), url, language)
  }

  async function shoot(name: string, screen: Screen, path = '/', heightMax = viewport.height): Promise<void> {
    await screen.goto(path)
    await screen.page.waitForTimeout(quietMs)
    await screen.settled()
    const clip = { x: 0, y: 0, width: viewport.width, height: heightMax }
    await screen.page.screenshot({ path: join(folder, `${name}.${screen.language}.png`), clip })
  }
} finally {
  await site.end()
}

/** Who shows a page: the first role that may do what it is for. */
function offeredTo(action: Action): string | undefined {
  const order = ['operator', 'system-administrator', 'security-administrator', 'audit-administrator'] as const
  return order.find((role) => roleActions[role].includes(action))
}
