import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../base/clock.ts'
import { commandStarter } from './command-process.ts'

test('a command that cannot be started ends at once, and says why', async () => {
  for (const [program, arg, why] of [
    [['/no/such/program'], 'x', /ENOENT/],
    [[process.execPath], 'a\0b', /null bytes/],
    // Longer than the kernel takes.
    [[process.execPath], 'x'.repeat(8 * 1024 * 1024), /E2BIG/],
  ] as const) {
    const heard: string[] = []
    const start = commandStarter(program, {}, systemClock)
    const { process: started, ended, stop } = start([arg], (line, from) => heard.push(`${from} ${line}`))
    stop()
    assert.deepEqual([started, await ended], [undefined, { status: null, signal: null }])
    assert.equal(heard.length, 1)
    assert.match(heard[0] as string, /^err it could not be started: /)
    assert.match(heard[0] as string, why)
  }
})
