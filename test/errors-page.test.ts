import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { errorsPage } from '../scripts/errors-page.ts'

test('the page of error codes is the one generated from the list', () => {
  assert.equal(readFileSync(new URL('../docs/operate/errors.md', import.meta.url), 'utf8'), errorsPage)
})
