import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ask } from '../../test/support/watched.ts'
import { systemClock } from '../base/clock.ts'
import { systemRandom } from '../base/random.ts'
import { initVault } from './init.ts'
import { socketName } from './place.ts'
import { runVault } from './run.ts'

async function vaultRuns(context: TestContext, metrics?: { host: string; port: number }) {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-watched-'))
  await initVault({ directory, name: 'north', addresses: [] }, { clock: systemClock, random: systemRandom })
  const stop = new AbortController()
  const lines: string[] = []
  const ready = Promise.withResolvers<void>()
  const last = metrics === undefined ? /listens on/ : /metrics at/
  const ended = runVault(
    { directory, host: '127.0.0.1', port: 0, metrics },
    {
      clock: systemClock,
      random: systemRandom,
      tell: (line) => {
        lines.push(line)
        if (last.test(line)) ready.resolve()
      },
    },
    stop.signal,
  )
  context.after(async () => {
    stop.abort(new Error('the test is over'))
    await ended.catch((error: unknown) => assert.equal(error, stop.signal.reason))
    rmSync(directory, { recursive: true })
  })
  await Promise.race([ready.promise, ended.then(() => assert.fail('the vault ended'))])
  const port = Number(/metrics at http:\/\/127\.0\.0\.1:(\d+)/.exec(lines.join('\n'))?.[1])
  return { directory, lines, port }
}

test('a vault tells its metrics and its health at the address it was told, and at its own socket', async (context) => {
  const { directory, port } = await vaultRuns(context, { host: '127.0.0.1', port: 0 })
  for (const door of [{ host: '127.0.0.1', port }, { socketPath: join(directory, socketName) }]) {
    const metrics = await ask(door, '/metrics')
    assert.equal(metrics.status, 200)
    assert.match(metrics.type ?? '', /^text\/plain; version=0\.0\.4/)
    assert.match(metrics.text, /^tidemark_vault_info\{vault="north",version="[^"]+"\} 1$/m)
    assert.match(metrics.text, /^tidemark_vault_stalled 0$/m)
    assert.match(metrics.text, /^tidemark_vault_free_bytes [1-9]\d*$/m)
    assert.match(metrics.text, /^process_resident_memory_bytes [1-9]\d*$/m)
    const alive = await ask(door, '/healthz')
    assert.deepEqual([alive.status, JSON.parse(alive.text).alive], [200, true])
    const ready = await ask(door, '/readyz')
    assert.deepEqual([ready.status, JSON.parse(ready.text).ready, JSON.parse(ready.text).reasons], [200, true, []])
  }
})

test('the port for watchers answers nothing else, and takes nothing', async (context) => {
  const { port } = await vaultRuns(context, { host: '127.0.0.1', port: 0 })
  const door = { host: '127.0.0.1', port }
  for (const path of ['/', '/v1/status', '/metrics/', '/metrics%00', '/v1/openapi.json'])
    assert.equal((await ask(door, path)).status, 404, path)
  for (const method of ['POST', 'PUT', 'DELETE'])
    assert.equal((await ask(door, '/metrics', method)).status, 405, method)
})

test('nothing listens for watchers until it is told to', async (context) => {
  const { lines } = await vaultRuns(context)
  assert.ok(!lines.some((line) => line.includes('metrics')), lines.join('\n'))
})

test('two processes do not take the same address for watchers: the second says so', async (context) => {
  const { port } = await vaultRuns(context, { host: '127.0.0.1', port: 0 })
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-watched-'))
  context.after(() => rmSync(directory, { recursive: true }))
  const parts = { clock: systemClock, random: systemRandom, tell: () => undefined }
  await initVault({ directory, name: 'south', addresses: [] }, parts)
  const request = { directory, host: '127.0.0.1', port: 0, metrics: { host: '127.0.0.1', port } }
  await assert.rejects(runVault(request, parts, AbortSignal.abort()), /metrics cannot be served on/)
})
