import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { build, type Manifest } from 'vite'

/** What the browser part becomes when it is built. */

const firstLoadBytesMax = 400 * 1024
const web = join(dirname(import.meta.dirname), 'web')
let built: string
let manifest: Manifest

before(async () => {
  built = mkdtempSync(join(tmpdir(), 'tidemark-web-'))
  await build({ root: web, configFile: join(web, 'vite.config.ts'), logLevel: 'error', build: { outDir: built } })
  manifest = JSON.parse(readFileSync(join(built, '.vite/manifest.json'), 'utf8')) as Manifest
})
after(() => rmSync(built, { recursive: true }))

test('the first load, with the page that is opened first, is at most 400 KiB compressed', () => {
  const files = filesOf('index.html', 'src/pages/overview.tsx')
  const sizes = [...files].map((file) => ({
    file,
    bytes: gzipSync(readFileSync(join(built, file)), { level: 6 }).length,
  }))
  const bytes = sizes.reduce((sum, one) => sum + one.bytes, 0)
  assert.ok(bytes <= firstLoadBytesMax, `${bytes} bytes: ${JSON.stringify(sizes)}`)
})

test('charts come only with the page that draws one', () => {
  const withCharts = Object.values(manifest)
    .map(({ file }) => file)
    .filter((file) => file.endsWith('.js') && readFileSync(join(built, file), 'utf8').includes('echarts'))
  assert.ok(withCharts.length > 0)
  for (const key of Object.keys(manifest)) {
    if (manifest[key]?.isEntry !== true && !key.startsWith('src/pages/')) continue
    for (const file of filesOf(key)) assert.ok(!withCharts.includes(file), `${key} loads ${file} at once`)
  }
})

test('nothing in the page needs a policy that allows more than its own files', () => {
  const page = readFileSync(join(built, 'index.html'), 'utf8')
  assert.doesNotMatch(page, /<script(?![^>]*\bsrc=)/, 'a script within the page')
  assert.doesNotMatch(page, /<style|\sstyle=/, 'a style within the page')
  assert.doesNotMatch(page, /(?:src|href)="https?:/, 'something from another server')
})

/** What comes with these pages before anything is asked for, styles too. */
function filesOf(...keys: readonly string[]): Set<string> {
  const files = new Set<string>()
  const seen = new Set<string>()
  const take = (key: string): void => {
    const chunk = manifest[key]
    if (chunk === undefined || seen.has(key)) return
    seen.add(key)
    for (const file of [chunk.file, ...(chunk.css ?? [])]) files.add(file)
    for (const other of chunk.imports ?? []) take(other)
  }
  for (const key of keys) take(key)
  return files
}
