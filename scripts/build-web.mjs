/**
 * Builds the console's browser part into web/dist. With --if-older only if a source is newer than what was built last;
 * scripts/setup.mjs --web runs it so, which is why it is plain JavaScript.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, statSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const page = join(root, 'web/dist/index.html')

if (!process.argv.includes('--if-older') || isOlder()) build()

function isOlder() {
  if (!existsSync(page)) return true
  const built = statSync(page).mtimeMs
  const sources = globSync(['web/src/**/*', 'web/*.*', 'package-lock.json'], { cwd: root })
  return sources.some((path) => statSync(join(root, path)).mtimeMs > built)
}

function build() {
  console.error('tidemark: building the browser part into web/dist')
  const { status } = spawnSync(
    process.execPath,
    [join(root, 'node_modules/vite/bin/vite.js'), 'build', join(root, 'web'), '--logLevel', 'warn'],
    { stdio: 'inherit' },
  )
  process.exitCode = status ?? 1
}
