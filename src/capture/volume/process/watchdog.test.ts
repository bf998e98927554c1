import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

/** A server that hangs, in one of these ways, as soon as somebody has connected. */
const program = (socket: string, how: string): string => `
import { openSync } from 'node:fs'
import net from 'node:net'
import { systemClock } from ${JSON.stringify(import.meta.resolve('../../../base/clock.ts'))}
import { LiveSockets } from ${JSON.stringify(import.meta.resolve('../../../nbd/live-sockets.ts'))}
import { keepWatched } from ${JSON.stringify(import.meta.resolve('./watchdog.ts'))}
const live = new LiveSockets(4)
let stalledMs = 0
const server = net.createServer((socket) => {
  live.add(socket)
  if (${JSON.stringify(how)} === 'thread without a file to open') openAll()
  if (${JSON.stringify(how)} === 'sync') stalledMs = 60_000
  else setTimeout(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0), 50)
})
function openAll() {
  try {
    for (;;) openSync('/dev/null')
  } catch (error) {
    if (error.code !== 'EMFILE') throw error
  }
}
await new Promise((resolve) => server.listen(${JSON.stringify(socket)}, resolve))
process.on('worker', (worker) => worker.once('message', () => console.log('ready')))
await keepWatched({ clock: systemClock, descriptors: [live.descriptors], stalledMs: () => stalledMs, limitMs: 2000 }, new AbortController().signal)
`

// A disk that hangs gives no files: what is needed then has to be there before.
for (const how of ['thread', 'sync', 'thread without a file to open'] as const) {
  test(`a server whose ${how} hangs is ended, and its clients learn it`, { timeout: 60_000 }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-watchdog-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 's')
    writeFileSync(join(folder, 'hang.mjs'), program(path, how))
    const command = ['-c', 'ulimit -n 100 && exec "$@"', 'sh', process.execPath, join(folder, 'hang.mjs')]
    const child = spawn('sh', command, { stdio: ['ignore', 'pipe', 'inherit'] })
    t.after(() => child.kill('SIGKILL'))
    const ended = once(child, 'exit')
    await once(child.stdout, 'data')
    const client = net.connect(path)
    client.resume()
    await once(client, 'end')
    client.destroy()
    assert.deepEqual(await ended, [null, 'SIGKILL'])
  })
}
