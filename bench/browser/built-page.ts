import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { build } from 'vite'

/** Debian's; a row that needs it is left out without it. */
export const chromiumPath = '/usr/bin/chromium'
export const isChromiumInstalled = existsSync(chromiumPath)

/** A page with nothing but one program of the browser part, built as the console's own are, open in a Chromium. */
export class BuiltPage implements AsyncDisposable {
  readonly page: Page
  readonly #browser: Browser
  readonly #end: () => void

  private constructor(page: Page, browser: Browser, end: () => void) {
    this.page = page
    this.#browser = browser
    this.#end = end
  }

  static async open(program: URL, directory: string, viewport: { width: number; height: number }): Promise<BuiltPage> {
    await build({
      configFile: false,
      logLevel: 'error',
      build: {
        outDir: directory,
        emptyOutDir: true,
        target: 'es2023',
        lib: { entry: program.pathname, formats: ['es'], fileName: 'page' },
      },
    })
    const built = (await readdir(directory)).find((name) => name.endsWith('.js')) ?? ''
    const script = await readFile(join(directory, built))
    const server = createServer((request, response) => {
      const isScript = request.url === '/page.js'
      response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html; charset=utf-8')
      response.end(
        isScript ? script : '<!doctype html><body style="margin:0"><script type="module" src="/page.js"></script>',
      )
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox'] })
    const page = await browser.newPage({ viewport })
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    return new BuiltPage(page, browser, () => server.close())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close()
    this.#end()
  }
}
