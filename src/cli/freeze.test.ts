import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { HeldClock } from '../../test/support/held-clock.ts'
import { whileFrozen } from './freeze.ts'

function hooks(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-freeze-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const calls = join(folder, 'calls')
  const note = (word: string): string => `echo ${word} >> ${calls}`
  return { note, called: () => readFileSync(calls, 'utf8').trim().split('\n'), calls }
}

const quiet = (): undefined => undefined
const limit = () => ({ limitMs: 60_000, clock: new HeldClock() })

test('what is done while frozen is done between the two commands', async (t) => {
  const { note, called, calls } = hooks(t)
  const done = await whileFrozen({ freeze: note('freeze'), thaw: note('thaw'), ...limit() }, quiet, async () => {
    assert.deepEqual(called(), ['freeze'])
    return calls
  })
  assert.equal(done, calls)
  assert.deepEqual(called(), ['freeze', 'thaw'])
})

test('where freezing fails nothing is done, and thawed all the same', async (t) => {
  const { note, called } = hooks(t)
  const freeze = `${note('freeze')}; exit 3`
  const failing = whileFrozen({ freeze, thaw: note('thaw'), ...limit() }, quiet, async () => assert.fail('not frozen'))
  await assert.rejects(failing, /status 3/)
  assert.deepEqual(called(), ['freeze', 'thaw'])
})

test('what fails while frozen is told once it is thawed', async (t) => {
  const { note, called } = hooks(t)
  const failing = whileFrozen({ freeze: note('freeze'), thaw: note('thaw'), ...limit() }, quiet, async () => {
    throw new Error('the vault is away')
  })
  await assert.rejects(failing, /the vault is away/)
  assert.deepEqual(called(), ['freeze', 'thaw'])
})

test('nothing stays frozen for longer than was said, and a command that hangs is ended', async (t) => {
  const { note, called } = hooks(t)
  const clock = new HeldClock()
  const told = { thaw: note('thaw'), limitMs: 3000, clock }
  const begun = Promise.withResolvers<void>()
  const never = (): Promise<never> => {
    begun.resolve()
    return new Promise(() => undefined)
  }
  const waiting = assert.rejects(
    whileFrozen({ ...told, freeze: note('freeze') }, quiet, never),
    /did not have the mark within 3 s/,
  )
  await begun.promise
  await clock.letGo()
  await waiting
  assert.deepEqual(called(), ['freeze', 'thaw'])
  const hanging = assert.rejects(whileFrozen({ ...told, freeze: 'sleep 1000' }, quiet, never), /took longer than 3 s/)
  await clock.letGo()
  await hanging
  assert.deepEqual(called(), ['freeze', 'thaw', 'thaw'])
})
