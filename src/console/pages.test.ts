import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { brotliCompressSync } from 'node:zlib'
import { Browser, testConsole } from '../../test/support/console-world.ts'

async function consoleWithPages(context: TestContext): Promise<Browser> {
  const pages = mkdtempSync(join(tmpdir(), 'tidemark-pages-'))
  context.after(() => rmSync(pages, { recursive: true }))
  mkdirSync(join(pages, 'assets'))
  writeFileSync(join(pages, 'index.html'), '<style nonce="__TIDEMARK_NONCE__"></style><p data-n="__TIDEMARK_NONCE__">')
  writeFileSync(join(pages, 'assets', 'main-1a2b.js'), 'export {}')
  writeFileSync(join(pages, 'icon.svg'), '<svg xmlns="http://www.w3.org/2000/svg"/>')
  const { port } = await testConsole(context, { pages })
  return new Browser(port)
}

test('any place inside the console is its page, with a nonce of its own each time', async (context) => {
  const browser = await consoleWithPages(context)
  const nonces = new Set<string>()
  for (const path of ['/', '/systems', '/systems/%E8%B4%A2%E5%8A%A1?at=2026', '/wall']) {
    const { status, headers, text } = await browser.ask('GET', path)
    assert.equal(status, 200, path)
    assert.equal(headers['cache-control'], 'no-store')
    const nonce = /'nonce-([^']+)'/.exec(String(headers['content-security-policy']))?.[1] as string
    assert.equal(text, `<style nonce="${nonce}"></style><p data-n="${nonce}">`)
    nonces.add(nonce)
  }
  assert.equal(nonces.size, 4)
})

test('the page may run its own scripts alone', async (context) => {
  const browser = await consoleWithPages(context)
  const policy = String((await browser.ask('GET', '/')).headers['content-security-policy'])
  assert.match(policy, /script-src 'self';/)
  assert.match(policy, /frame-ancestors 'none'/)
  assert.doesNotMatch(policy, /unsafe|\*|sandbox/)
})

test('what is named by its content is kept by the browser, other files are asked for again', async (context) => {
  const browser = await consoleWithPages(context)
  const script = await browser.ask('GET', '/assets/main-1a2b.js')
  assert.match(String(script.headers['content-type']), /javascript/)
  assert.equal(script.headers['cache-control'], 'public, max-age=31536000, immutable')
  const icon = await browser.ask('GET', '/icon.svg')
  assert.equal(icon.headers['cache-control'], 'no-cache')
  assert.match(String(icon.headers['content-security-policy']), /default-src 'none'.*sandbox/)
  assert.equal((await browser.ask('GET', '/assets/gone.js')).status, 404)
})

test('nothing outside the folder of the pages is served', async (context) => {
  const browser = await consoleWithPages(context)
  for (const path of [
    '/../console.sqlite',
    '/%2e%2e/secret.key',
    '/..%2fsecret.key',
    '/assets/..%5c..%5csecret.key',
    '/.env',
  ]) {
    const { status, text } = await browser.ask('GET', path)
    assert.ok([400, 403, 404].includes(status), `${path}: ${status} ${text}`)
  }
  assert.equal((await browser.ask('GET', '/api/nothing')).status, 404)
  assert.equal((await browser.ask('GET', '/%')).status, 400)
})

test('without built pages the console says how to build them', async (context) => {
  const { port } = await testConsole(context)
  const { status, text } = await new Browser(port).ask('GET', '/')
  assert.equal(status, 404)
  assert.match(text, /npm run build/)
})

test('a browser gets an asset compressed where it takes that, and as it is otherwise', async (context) => {
  const pages = mkdtempSync(join(tmpdir(), 'tidemark-pages-'))
  context.after(() => rmSync(pages, { recursive: true }))
  const script = 'export const answer = 42\n'.repeat(100)
  const compressed = brotliCompressSync(script)
  mkdirSync(join(pages, 'assets'))
  writeFileSync(join(pages, 'assets/page.js'), script)
  writeFileSync(join(pages, 'assets/page.js.br'), compressed)
  const { origin } = await testConsole(context, { pages })
  // fetch decompresses what it asked for: that it came so, only the headers say.
  const taken = await fetch(`${origin}/assets/page.js`, { headers: { 'accept-encoding': 'br' } })
  assert.equal(taken.headers.get('content-encoding'), 'br')
  assert.match(taken.headers.get('content-type') ?? '', /javascript/)
  assert.equal(Number(taken.headers.get('content-length')), compressed.length)
  assert.equal(await taken.text(), script)
  const plain = await fetch(`${origin}/assets/page.js`, { headers: { 'accept-encoding': 'identity' } })
  assert.deepEqual([plain.headers.get('content-encoding'), await plain.text()], [null, script])
})
