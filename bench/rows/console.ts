import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { LiveEvent } from '../../src/api/console.ts'
import type { VaultStatus } from '../../src/api/schemas.ts'
import { Browser } from '../../test/support/console-world.ts'
import { chromiumPath } from '../browser/built-page.ts'
import { until } from '../command.ts'
import { freePort, Place } from '../place.ts'
import { ours, percentile, type Record } from '../record.ts'
import type { Assignment, Row } from '../row.ts'
import { Tidemark } from '../tidemark.ts'
import { Watched } from '../usage.ts'
import type { FleetTask } from './console-fleet.ts'

const row = 'console'

export const consoleRow: Row = { name: row, title: 'The console over many servers', measure }

const sourcesEach = 5
const changeMs = 5000
const browsersCount = 5
const pauses = 20
/** From a laptop on a line of the office. */
const laptop = { width: 1366, height: 768 }

/**
 * Simulated servers that speak the real link, a real vault and a real console with browsers that read what is live: what the console takes
 * while all goes its way, how late a change is told, and how soon the first page is there in a Chromium.
 */
async function measure({ record, isQuick, tell }: Assignment): Promise<void> {
  const servers = isQuick ? 40 : 200
  const seconds = isQuick ? 15 : 60
  using place = new Place(row)
  await using tidemark = await Tidemark.startVaultOnly(join(place.directory, 'tidemark'))
  await using _fleet = await gather(tidemark, servers)
  const sources = servers * sourcesEach
  await until('all sources to be protected', async () => {
    const status = (await tidemark.ask('GET', '/v1/status')) as VaultStatus
    return status.sources.length === sources && status.sources.every(({ state }) => state === 'protected')
  })
  tell(`${servers} servers with ${sources} sources are there`)
  const port = await freePort()
  const { pid, password: first } = await tidemark.startConsole(port)
  const password = `own-${first}`
  const operator = new Browser(port)
  await operator.signIn('operator', first)
  await operator.done('POST', '/api/me/password', { body: { old: first, new: password } })
  const what = (text: string): string => `${servers} servers, ${sources} sources: ${text}`
  const add = (text: string, unit: Parameters<Record['add']>[0]['unit'], value: number): void =>
    record.add({ row, what: what(text), unit }, ours, value)

  const readers = await Promise.all(
    Array.from({ length: browsersCount }, async () => {
      const browser = new Browser(port)
      await browser.signIn('operator', password)
      return new Reader(browser)
    }),
  )
  {
    using console = new Watched([pid])
    using vault = tidemark.watchVault()
    const before = readers.reduce((sum, reader) => sum + reader.bytes, 0)
    const began = performance.now()
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    const elapsed = (performance.now() - began) / 1000
    const after = readers.reduce((sum, reader) => sum + reader.bytes, 0)
    add(
      `CPU time of the console a minute, ${browsersCount} browsers`,
      'CPU s',
      (console.usage().cpuSeconds * 60) / elapsed,
    )
    add('memory of the console', 'MB', console.usage().memoryBytes / 1e6)
    add('what one browser reads a minute', 'MB', ((after - before) / browsersCount / 1e6 / elapsed) * 60)
    add('CPU time of the vault a minute, all that it does', 'CPU s', (vault.usage().cpuSeconds * 60) / elapsed)
  }
  const delays: number[] = []
  const { sources: all } = (await tidemark.ask('GET', '/v1/status')) as VaultStatus
  for (const { id, name } of all.slice(0, pauses)) {
    const told = Promise.all(readers.map((reader) => reader.until((event) => isPaused(event, id))))
    const asked = performance.now()
    await tidemark.ask('POST', `/v1/sources/${name}/pause`)
    await told
    delays.push(performance.now() - asked)
  }
  for (const share of [0.5, 0.99])
    add(`a change told to every browser, p${share * 100}`, 'ms', percentile(delays, share))
  for (const reader of readers) await reader.end()
  await firstPage(`http://127.0.0.1:${port}`, password, add)
}

/** Who has the console open: counts what is told, and says when something is. */
class Reader {
  readonly #stop = new AbortController()
  readonly #waiting = new Set<{ readonly is: (event: LiveEvent) => boolean; readonly done: () => void }>()
  readonly ended: Promise<void>
  bytes = 0

  constructor(browser: Browser) {
    this.ended = this.#read(browser)
  }

  until(is: (event: LiveEvent) => boolean): Promise<void> {
    return new Promise((done) => this.#waiting.add({ is, done }))
  }

  async end(): Promise<void> {
    this.#stop.abort()
    await this.ended
  }

  async #read(browser: Browser): Promise<void> {
    for await (const event of browser.live(this.#stop.signal)) {
      this.bytes += JSON.stringify(event).length
      for (const one of this.#waiting) {
        if (!one.is(event)) continue
        this.#waiting.delete(one)
        one.done()
      }
    }
  }
}

const isPaused = (told: LiveEvent, id: string): boolean =>
  told.kind === 'vault' &&
  told.event.kind === 'source' &&
  told.event.source.id === id &&
  told.event.source.state === 'paused'

async function gather(tidemark: Tidemark, servers: number): Promise<AsyncDisposable> {
  const halves = [Math.ceil(servers / 2), Math.floor(servers / 2)]
  const children = await Promise.all(
    halves.map(async (count) => {
      const child = fork(join(import.meta.dirname, 'console-fleet.ts'), {
        execArgv: ['--disable-warning=ExperimentalWarning'],
      })
      const tokens: string[] = []
      while (tokens.length < count) tokens.push(await tidemark.token())
      const task: FleetTask = { ...tidemark.vaultAddress, tokens, sourcesEach, changeMs }
      const ready = once(child, 'message')
      child.send(task)
      const [word] = (await Promise.race([ready, once(child, 'exit').then(() => ['ended'])])) as [unknown]
      if (word !== 'ready') throw new Error('the simulated servers ended before they were there')
      return child
    }),
  )
  return {
    [Symbol.asyncDispose]: async () => {
      for (const child of children) {
        const ended = once(child, 'exit')
        if (child.kill()) await ended
      }
    },
  }
}

/** The first page of a browser that has never been there, and the overview of one that has signed in. */
async function firstPage(
  url: string,
  password: string,
  add: (text: string, unit: 'ms' | 'bytes', value: number) => void,
): Promise<void> {
  const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox'] })
  try {
    const page = await browser.newPage({ viewport: laptop, locale: 'en-GB' })
    await page.goto(url)
    await page.getByRole('textbox').first().waitFor()
    const { painted, bytes } = await page.evaluate(() => ({
      painted: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0,
      bytes: performance
        .getEntries()
        .reduce((sum, entry) => sum + ('transferSize' in entry ? Number(entry.transferSize) : 0), 0),
    }))
    add('first paint of the sign-in page', 'ms', painted)
    add('what the first load brings, compressed', 'bytes', bytes)
    const inputs = page.locator('input')
    await inputs.nth(0).fill('operator')
    await inputs.nth(1).fill(password)
    await page.keyboard.press('Enter')
    await page.getByRole('navigation').first().waitFor()
    const began = performance.now()
    await page.goto(url)
    await page.getByText('system-', { exact: false }).first().waitFor()
    add('overview, loaded again, until the systems are there', 'ms', performance.now() - began)
  } finally {
    await browser.close()
  }
}
