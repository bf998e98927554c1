import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Action, type Role, roles } from '../../src/api/console.ts'
import { roleActions } from '../../src/console/roles.ts'
import { ConsoleWorld, type Language, needsBrowser, type Screen } from './console-harness.ts'

/** Every page that there is, as the browser's part names them. */
const routes = readFileSync(join(import.meta.dirname, '../../web/src/shell/routes.tsx'), 'utf8')
const pages = [...routes.matchAll(/path: '([^']+)',(?:\s*action: '([^']+)',)?\s*load/g)].map(([, path, action]) => ({
  path: path as string,
  /** Absent: everybody may who is signed in. */
  action: action as Action | undefined,
}))

const isFor = (role: Role, action: Action | undefined): boolean =>
  action === undefined || roleActions[role].includes(action)

interface Protected {
  readonly console: ConsoleWorld
  readonly vault: string
  readonly agent: string
  readonly source: string
}

/** A vault in a console, with a server of which one directory is protected. */
async function protectedWorld(t: TestContext): Promise<Protected> {
  const console = await ConsoleWorld.begin(t)
  await console.protectDocuments('web-1')
  const status = (await console.world.glance())!
  const [source] = status.sources
  return { console, vault: status.id, agent: source!.agent.id, source: source!.id }
}

const filled = (path: string, { vault, agent, source }: Protected): string =>
  path.replace(':vault', vault).replace(':agent', agent).replace(':source', source).replace(':system', 'documents')

test(
  'every page, in both languages and both appearances, works without a complaint of the browser and can be used by everybody',
  { skip: needsBrowser, timeout: 900_000 },
  async (t) => {
    const scene = await protectedWorld(t)
    const found: string[] = []
    const visit = async (role: Role, language: Language): Promise<void> => {
      const screen = await scene.console.signedIn(role, language)
      await screen.page.emulateMedia({ colorScheme: language === 'en' ? 'light' : 'dark' })
      for (const { path, action } of pages) {
        // One of those who may see it looks at each page.
        if (!isFor(role, action) || ((action ?? 'see') === 'see' && role !== 'operator')) continue
        await screen.goto(filled(path, scene))
        assert.equal(await screen.page.locator('html').getAttribute('lang'), language)
        for (const barrier of await screen.barriers()) found.push(`${language} ${path}: ${barrier}`)
        for (const complaint of screen.complaints.splice(0)) found.push(`${language} ${path}: ${complaint}`)
      }
      await screen.close()
    }
    for (const role of roles) await Promise.all([visit(role, 'en'), visit(role, 'zh-CN')])
    const stranger = await scene.console.screen('zh-CN')
    await stranger.goto('/')
    for (const barrier of await stranger.barriers()) found.push(`/: ${barrier}`)
    await stranger.close()
    assert.deepEqual(found, [])
  },
)

/** What a change of each action is, with nothing in it that would do harm if it were let through. */
const attempts = ({ vault, source, agent }: Protected): readonly [Action, string, string, unknown?][] => [
  ['see', 'GET', `/api/vaults/${vault}/v1/status`],
  ['contents', 'GET', `/api/vaults/${vault}/v1/sources/${source}/tree`],
  ['mark', 'POST', `/api/vaults/${vault}/v1/sources/${source}/marks`, { label: 'tried' }],
  ['verify', 'POST', `/api/vaults/${vault}/v1/tasks`, { kind: 'verify', source }],
  [
    'restore',
    'POST',
    `/api/vaults/${vault}/v1/tasks`,
    { kind: 'preflight', agent, source, at: 'latest', to: '/nowhere' },
  ],
  ['protect', 'POST', `/api/vaults/${vault}/v1/sources/${source}/reconcile`],
  ['servers', 'POST', `/api/vaults/${vault}/v1/tokens`, {}],
  ['vaults', 'DELETE', '/api/vaults/00000000000000000000000000000000'],
  ['channels', 'GET', '/api/channels'],
  ['users', 'GET', '/api/users'],
  ['audit', 'GET', '/api/audit'],
]

test(
  'each of the five roles is offered what it may do and nothing else, and is refused the rest however it asks',
  { skip: needsBrowser, timeout: 900_000 },
  async (t) => {
    const scene = await protectedWorld(t)
    for (const role of roles) {
      const screen = await scene.console.signedIn(role)
      const may = (action: Action): boolean => roleActions[role].includes(action)
      await offered(screen, scene, may, role)
      for (const [action, method, path, body] of attempts(scene)) {
        const { status } = await screen.try(method, path, body)
        if (may(action)) assert.notEqual(status, 403, `${role} ${method} ${path}`)
        else assert.equal(status, 403, `${role} ${method} ${path}`)
      }
      const forbidden = new Map(
        pages.filter(({ action }) => !isFor(role, action)).map(({ path, action }) => [action, path]),
      )
      for (const path of forbidden.values()) {
        await screen.page.goto(`${scene.console.origin}${filled(path, scene)}`)
        await screen.shows(screen.t.shell.notAllowed)
      }
      // Refusals are errors to the browser.
      screen.complaints.length = 0
      await screen.close()
    }
  },
)

async function offered(screen: Screen, scene: Protected, may: (action: Action) => boolean, role: Role): Promise<void> {
  const { page, t } = screen
  const links = page.getByRole('navigation', { name: t.shell.navigation }).getByRole('listitem')
  const navigation = [...routes.matchAll(/path: '[^']+',\s*action: '([^']+)',\s*load: [^\n]+\n\s*navigation/g)]
  const wanted = navigation.filter(([, action]) => may(action as Action)).length
  assert.equal(await links.count(), wanted, `${role}: ${await links.allTextContents()}`)
  if (!may('see')) return
  const isThere = async (name: string): Promise<boolean> => (await screen.button(name).count()) > 0
  await screen.goto('/servers')
  assert.equal(await isThere(t.servers.enrol), may('servers'), `${role}: enrol`)
  await screen.goto('/vaults')
  assert.equal(await isThere(t.vaults.add), may('vaults'), `${role}: add a vault`)
  await screen.goto(filled('/servers/:vault/:agent', scene))
  await screen.shows('documents')
  assert.equal(await isThere(t.servers.protect), may('protect'), `${role}: protect`)
  await screen.goto('/systems/documents')
  await screen.shows('documents')
  for (const [name, action] of [
    [t.system.browse, 'contents'],
    [t.system.compare, 'contents'],
    [t.system.mark, 'mark'],
    [t.system.verify, 'verify'],
    [t.system.restore, 'restore'],
  ] as const)
    assert.equal(await isThere(name), may(action), `${role}: ${name}`)
}
