import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { AxeResults } from 'axe-core'
import { type Browser, type BrowserContext, chromium, type Locator, type Page } from 'playwright-core'
import { type Role, roles } from '../../src/api/console.ts'
import { en, type Texts } from '../../web/src/language/en.ts'
import { zhCn } from '../../web/src/language/zh-CN.ts'
import { lacking } from '../run/programs.ts'
import { freePort } from '../support/free-port.ts'
import { type Agent, Process, World } from './harness.ts'

/** Debian's. */
const chromiumPath = '/usr/bin/chromium'
const root = join(import.meta.dirname, '../..')
const isBuilt = existsSync(join(root, 'web/dist/index.html'))

/** For the `skip` of a test: why it cannot run here, or false. */
export const needsBrowser = lacking('chromium') || (!isBuilt && 'needs the built pages: node scripts/build-web.mjs')

export type Language = 'en' | 'zh-CN'
export const textsOf: Readonly<Record<Language, Texts>> = { 'en': en, 'zh-CN': zhCn }

/** How long a page may take to show what it must, on the slowest machine. */
const shownMsMax = 60_000
/** A laptop of the smallest kind that the console is made for. */
const viewport = { width: 1366, height: 768 }

interface Account {
  readonly name: string
  readonly role: Role
  readonly password: string
}

/** A vault, a console and a browser, each the real program. Agents are added by a test as an operator does. */
export class ConsoleWorld {
  readonly world: World
  readonly origin: string
  readonly process: Process
  readonly directory: string
  readonly #accounts: Map<Role, Account>
  #browser: Promise<Browser> | undefined
  /** The passwords that were taken at the first sign-in. */
  readonly #taken = new Map<Role, Promise<string>>()

  private constructor(
    world: World,
    told: { process: Process; directory: string; origin: string; accounts: Account[] },
  ) {
    this.world = world
    this.process = told.process
    this.directory = told.directory
    this.origin = told.origin
    this.#accounts = new Map(told.accounts.map((account) => [account.role, account]))
  }

  static async begin(t: TestContext): Promise<ConsoleWorld> {
    const world = await World.begin(t)
    const directory = join(world.folder, 'console')
    const users = roles.flatMap((role) => ['--user', `${nameOf(role)}:${role}`])
    const made = await world.expect(['console', 'init', '--dir', directory, '--json', ...users])
    const { accounts } = JSON.parse(made.out) as { accounts: Account[] }
    const port = await freePort()
    const listen = ['--listen', `127.0.0.1:${port}`]
    const log = join(world.folder, 'console.log')
    const process = new Process(['console', 'run', '--dir', directory, ...listen], /console listens/, log)
    await process.start()
    const made_ = new ConsoleWorld(world, { process, directory, origin: `http://127.0.0.1:${port}`, accounts })
    world.atEnd(async () => {
      if (!t.passed) await made_.#keepPictures()
      await (await made_.#browser)?.close()
      await process.kill()
      if (!t.passed) t.diagnostic(readFileSync(log, 'utf8').slice(-3000))
    })
    return made_
  }

  /** What was on the screens when a test failed. */
  async #keepPictures(): Promise<void> {
    const pages = (await this.#browser)?.contexts().flatMap((context) => context.pages()) ?? []
    for (const [number, page] of pages.entries())
      await page.screenshot({ path: join(this.world.folder, `screen-${number}.png`) })
  }

  accountOf(role: Role): Account {
    const account = this.#accounts.get(role)
    assert.ok(account)
    return account
  }

  /** What the vault answers a token for a console with, and where it listens. */
  async vaultAddress(): Promise<{ url: string; token: string }> {
    const { token } = JSON.parse((await this.world.atVault('vault', 'token', '--console', '--json')).out) as {
      token: string
    }
    return { url: `127.0.0.1:${this.world.port}`, token }
  }

  /** A new window of nobody yet. */
  async screen(language: Language = 'en'): Promise<Screen> {
    this.#browser ??= chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox'] })
    const browser = await this.#browser
    const context = await browser.newContext({ viewport, locale: language, timezoneId: 'UTC', reducedMotion: 'reduce' })
    return Screen.open(context, this.origin, language)
  }

  /** A window of somebody who has signed in before, with a password of his own. */
  async signedIn(role: Role, language: Language = 'en'): Promise<Screen> {
    const { name } = this.accountOf(role)
    const password = await this.#ownPassword(role)
    const screen = await this.screen(language)
    await screen.signIn(name, password)
    await screen.page.goto(this.origin)
    await screen.page.getByRole('navigation', { name: screen.t.shell.navigation }).waitFor()
    return screen
  }

  /** Taking it ends the other sessions of the account, so it is done once for all windows. */
  #ownPassword(role: Role): Promise<string> {
    const taken = this.#taken.get(role) ?? this.#takePassword(role)
    this.#taken.set(role, taken)
    return taken
  }

  async #takePassword(role: Role): Promise<string> {
    const { name, password } = this.accountOf(role)
    const screen = await this.screen()
    await screen.signIn(name, password)
    await screen.ask('POST', '/api/me/password', { old: password, new: ownOf(password) })
    await screen.close()
    return ownOf(password)
  }

  /** What he takes in place of the first one on the page, at his first sign-in. */
  takesPassword(role: Role): string {
    const own = ownOf(this.accountOf(role).password)
    this.#taken.set(role, Promise.resolve(own))
    return own
  }

  /** Lets the console in at the vault, as its system administrator. */
  async addVault(): Promise<void> {
    const admin = await this.signedIn('system-administrator')
    await admin.ask('POST', '/api/vaults', { ...(await this.vaultAddress()), site: 'county' })
    await admin.close()
  }

  /** A vault in the console, and a server of which one directory, "documents", is protected. */
  async protectDocuments(server: string): Promise<Agent> {
    const [agent] = await Promise.all([this.world.join(server), this.addVault()])
    await agent.process.start()
    const documents = this.world.directory('documents')
    writeFileSync(join(documents, 'letter.txt'), 'a letter\n')
    await this.world.atAgent(agent, 'protect', 'files', documents, '--name', 'documents')
    await this.world.quietMoment('documents')
    return agent
  }
}

const nameOf = (role: Role): string => `the-${role}`
const ownOf = (password: string): string => `${password}-own`

export interface Answer {
  readonly status: number
  readonly body: unknown
}

/** One window. Whatever the browser complains of is kept, and is to be nothing. */
export class Screen {
  readonly page: Page
  readonly t: Texts
  readonly language: Language
  readonly #context: BrowserContext
  readonly #origin: string
  readonly complaints: string[] = []
  #csrf: string | undefined

  private constructor(context: BrowserContext, page: Page, origin: string, language: Language) {
    this.#context = context
    this.page = page
    this.#origin = origin
    this.language = language
    this.t = textsOf[language]
  }

  static async open(context: BrowserContext, origin: string, language: Language): Promise<Screen> {
    context.setDefaultTimeout(shownMsMax)
    await context.addInitScript({ content: tellViolations })
    const page = await context.newPage()
    const screen = new Screen(context, page, origin, language)
    page.on('console', (message) => {
      const { url } = message.location()
      // Who opens the page asks who is signed in: nobody is an answer, which the browser tells as an error.
      if (message.type() === 'error' && !url.endsWith('/api/me')) screen.complaints.push(`${message.text()} (${url})`)
    })
    page.on('pageerror', (error) => screen.complaints.push(error.stack ?? error.message))
    page.on('response', (response) => {
      if (response.status() >= 500) screen.complaints.push(`${response.status()} ${response.url()}`)
    })
    return screen
  }

  /** Not by the page. */
  async signIn(user: string, password: string): Promise<void> {
    const me = (await this.ask('POST', '/api/sign-in', { user, password })).body as { csrf: string }
    this.#csrf = me.csrf
  }

  /** As a page of this window would ask, and has to be answered well. */
  async ask(method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await this.try(method, path, body)
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer
  }

  async try(method: string, path: string, body?: unknown): Promise<Answer> {
    if (this.#csrf === undefined && method !== 'GET' && path !== '/api/sign-in') {
      this.#csrf = ((await this.try('GET', '/api/me')).body as { csrf: string }).csrf
    }
    const headers: Record<string, string> = { 'origin': this.#origin, 'sec-fetch-site': 'same-origin' }
    if (this.#csrf !== undefined) headers['x-tidemark-csrf'] = this.#csrf
    const answer = await this.#context.request.fetch(`${this.#origin}${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { data: body }),
    })
    const text = await answer.text()
    const isJson = answer.headers()['content-type']?.startsWith('application/json') === true
    return { status: answer.status(), body: isJson && text !== '' ? JSON.parse(text) : text }
  }

  async goto(path: string): Promise<void> {
    await this.page.goto(`${this.#origin}${path}`)
    await this.settled()
  }

  /** What is loaded later is there: nothing says that it loads, and the page is live. */
  async settled(): Promise<void> {
    await this.page.getByRole('main').waitFor()
    await this.page.locator('.ant-skeleton, .ant-spin-spinning').first().waitFor({ state: 'detached' })
  }

  button(name: string, within: Page | Locator = this.page): Locator {
    return within.getByRole('button', { name: ending(name) })
  }

  link(name: string, within: Page | Locator = this.page): Locator {
    return within.getByRole('link', { name: ending(name) })
  }

  /** Shown somewhere. */
  async shows(text: string | RegExp): Promise<void> {
    await this.page.getByText(text).first().waitFor()
  }

  /** What axe finds that keeps somebody from using the page. */
  async barriers(): Promise<string[]> {
    await this.page.evaluate(axeSource)
    const { violations } = (await this.page.evaluate(
      'axe.run(document, { resultTypes: ["violations"] })',
    )) as AxeResults
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(
        ({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html}\n${failureSummary}`).join('\n')}`,
      )
  }

  assertQuiet(): void {
    assert.deepEqual(this.complaints, [])
  }

  async close(): Promise<void> {
    this.assertQuiet()
    await this.#context.close()
  }
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** An icon before it may have a name of its own. */
const ending = (name: string): RegExp => new RegExp(`(?:^|\\s)${name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`)

const tellViolations = `document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
  console.error('content security policy: ' + violatedDirective + ' ' + blockedURI))`
