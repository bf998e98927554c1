import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { completedIn, workFileOf } from './disk-work.ts'

interface Way {
  readonly how: 'thread' | 'sync of the log' | 'sync of the backing'
  /** What the system tells of the work of its disks. */
  readonly disk: 'works' | 'completes nothing' | 'is not told of'
  readonly hasNoFiles?: true
}

/** A server that hangs, in one of these ways, as soon as somebody has connected. Whoever connects again lets it go on, and it ends. */
const program = (folder: string, { how, disk, hasNoFiles }: Way): string => `
import { openSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { Worker } from 'node:worker_threads'
import { systemClock } from ${JSON.stringify(import.meta.resolve('../../../base/clock.ts'))}
import { LiveSockets } from ${JSON.stringify(import.meta.resolve('../../../nbd/live-sockets.ts'))}
import { keepWatched } from ${JSON.stringify(import.meta.resolve('./watchdog.ts'))}
const live = new LiveSockets(4)
const work = ${JSON.stringify(join(folder, 'stat'))}
writeFileSync(work, '1 0 0 0 1 0 0 0 0 0 0')
const stalled = { log: 0, backing: 0 }
let connections = 0
const server = net.createServer((socket) => {
  if (++connections > 1) process.exit(7)
  live.add(socket)
  if (${hasNoFiles === true}) openAll()
  if (${JSON.stringify(how)} === 'sync of the log') stalled.log = 60_000
  else if (${JSON.stringify(how)} === 'sync of the backing') stalled.backing = 60_000
  else setTimeout(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0), 50)
})
function openAll() {
  try {
    for (;;) openSync('/dev/null')
  } catch {
    // There are no more: that is what was wanted.
  }
}
if (${disk === 'works'}) {
  const code = \`const { writeFileSync } = require('node:fs'); let count = 0
setInterval(() => writeFileSync(\${JSON.stringify(work)}, String(1e6 + ++count).padEnd(20) + ' 0 0 0 1 0 0 0 0 0 0'), 20)\`
  new Worker(code, { eval: true })
}
await new Promise((resolve) => server.listen(${JSON.stringify(join(folder, 's'))}, resolve))
process.on('worker', (worker) => worker.once('message', () => console.log('ready')))
const file = ${disk === 'is not told of'} ? undefined : work
const parts = { clock: systemClock, descriptors: [live.descriptors], stalledMs: () => stalled, workFiles: { log: file, backing: file } }
await keepWatched({ ...parts, limitMs: 2000, slowMs: ${how === 'thread' ? 6000 : 90_000} }, new AbortController().signal)
`

async function begin(t: TestContext, way: Way) {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-watchdog-'))
  t.after(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'hang.mjs'), program(folder, way))
  const command = ['-c', 'ulimit -n 100 && exec "$@"', 'sh', process.execPath, join(folder, 'hang.mjs')]
  const child = spawn('sh', command, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  await once(child.stdout, 'data')
  const path = join(folder, 's')
  const client = net.connect(path)
  client.resume()
  t.after(() => client.destroy())
  await once(client, 'connect')
  return { path, client, ended }
}

// A disk that hangs gives no files: what is needed then has to be there before.
const hanging: readonly Way[] = [
  { how: 'thread', disk: 'is not told of' },
  { how: 'thread', disk: 'completes nothing', hasNoFiles: true },
  { how: 'thread', disk: 'works' },
  { how: 'sync of the log', disk: 'completes nothing' },
  { how: 'sync of the backing', disk: 'completes nothing' },
]
for (const way of hanging) {
  const more = way.hasNoFiles ? ', and that has no file to open,' : ''
  test(
    `a server whose ${way.how} hangs${more} while its disk ${way.disk} is ended, and its clients learn it`,
    { timeout: 60_000 },
    async (t) => {
      const { client, ended } = await begin(t, way)
      await once(client, 'end')
      assert.deepEqual(await ended, [null, 'SIGKILL'])
    },
  )
}

const slow: readonly Way[] = [
  { how: 'sync of the log', disk: 'works' },
  { how: 'sync of the backing', disk: 'works' },
  { how: 'sync of the backing', disk: 'is not told of' },
]
for (const way of slow) {
  test(`a server whose ${way.how} takes long while its disk ${way.disk} goes on`, { timeout: 60_000 }, async (t) => {
    const { path, ended } = await begin(t, way)
    // Three times what a hang is given.
    await new Promise((resolve) => setTimeout(resolve, 6000))
    net.connect(path).on('error', () => {})
    assert.deepEqual(await ended, [7, null])
  })
}

test('what a disk has completed is read from what the system tells of it, and time that passes is no work', () => {
  const before =
    ' 8931752 534406 417119490 47315179 22050381 10362264 2748847176 38690150 2 4718332 88274393 8883769 1231 2146922168 1560587 3644657 708476\n'
  assert.equal(completedIn(before), 8931752 + 22050381 + 8883769 + 3644657)
  assert.equal(completedIn(before.replace('4718332 88274393', '4719999 88279999')), completedIn(before))
  assert.equal(completedIn('1 0 0 0 2 0 0 0 0 0 0'), 3)
  assert.equal(workFileOf('/proc/self/stat'), undefined)
})
