import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tryLock } from './lock.ts'
import { scratchFolder } from './scratch.ts'

test('a lock keeps every other opening of the file out until it is closed', (t) => {
  const path = join(scratchFolder(t), 'lock')
  const first = openSync(path, 'w')
  const second = openSync(path, 'w')
  assert.equal(tryLock(first), true)
  assert.equal(tryLock(first), true)
  assert.equal(tryLock(second), false)
  closeSync(first)
  assert.equal(tryLock(second), true)
  closeSync(second)
})

test('the lock of a killed process is free at once', async (t) => {
  const path = join(scratchFolder(t), 'lock')
  const door = new URL('./lock.ts', import.meta.url).href
  const program = `import { openSync } from 'node:fs'; const { tryLock } = await import(${JSON.stringify(door)})
    console.log(tryLock(openSync(${JSON.stringify(path)}, 'w'))); setInterval(() => {}, 1000)`
  const holder = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => holder.kill('SIGKILL'))
  const [answer] = (await once(holder.stdout, 'data')) as [Buffer]
  assert.equal(answer.toString(), 'true\n')

  const fd = openSync(path, 'w')
  t.after(() => closeSync(fd))
  assert.equal(tryLock(fd), false)
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  assert.equal(tryLock(fd), true)
})

test('a descriptor that is not open cannot be locked', () => {
  assert.throws(() => tryLock(-1), { code: 'EBADF', syscall: 'flock' })
})
