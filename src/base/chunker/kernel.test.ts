import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'

test('the committed module is what its source compiles to', () => {
  const build = fileURLToPath(new URL('../../../scripts/build-wasm.mjs', import.meta.url))
  const { status, stderr } = spawnSync(process.execPath, [build, '--check'], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
})
