/** Compiles src into dist and builds the browser part into web/dist, for machines that run JavaScript from a package: run it by "npm run build". */
import { spawnSync } from 'node:child_process'
import { chmodSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const dist = join(root, 'dist')

rmSync(dist, { recursive: true, force: true })
const compiler = spawnSync(
  process.execPath,
  [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'tsconfig.build.json')],
  { stdio: 'inherit' },
)
if (compiler.status !== 0) process.exit(compiler.status ?? 1)

// The compiler rewrites the file names of imports; those of worker threads it takes for any other text.
for (const file of globSync('**/*.js', { cwd: dist })) {
  const path = join(dist, file)
  const text = readFileSync(path, 'utf8')
  const rewritten = text.replaceAll(/(new URL\(\s*'\.[^']*)\.ts('\s*,\s*import\.meta\.url)/g, '$1.js$2')
  if (rewritten !== text) writeFileSync(path, rewritten)
}
chmodSync(join(dist, 'main.js'), 0o755)

const web = spawnSync(process.execPath, [join(root, 'scripts/build-web.mjs')], { stdio: 'inherit' })
process.exitCode = web.status ?? 1
