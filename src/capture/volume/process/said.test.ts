import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../base/clock.ts'
import { sayInto } from './said.ts'

test('a server goes on where there is no room for what it says, and says afterwards how much was lost', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-said-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'server.log')
  symlinkSync('/dev/full', file)
  const say = sayInto(file, systemClock)
  say('one')
  say('two')
  unlinkSync(file)
  say('three')
  say('four')
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  assert.deepEqual(
    lines.map((line) => line.slice(line.indexOf(' ') + 1).replace(/: .*/, '')),
    ['2 lines before this one could not be written', 'three', 'four'],
  )
  assert.match(lines[0] as string, /ENOSPC/)
})
