import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { newAuthority } from '../../../../test/support/certificates.ts'
import { freePort } from '../../../../test/support/free-port.ts'
import { until } from '../../../../test/support/until.ts'
import { type Clock, systemClock } from '../../../base/clock.ts'
import { systemRandom } from '../../../base/random.ts'
import { defaultVolume, type Id } from '../../../model/source.ts'
import { NbdClient } from '../../../nbd/client.ts'
import { openControl } from '../connect.ts'
import { volumeFolder, type VolumeFolder } from '../volume-folder.ts'
import { serveVolume, type VolumeServerParts } from './volume-server.ts'

const id = 'ffeeddccbbaa99887766554433221100' as Id

/** Looks are many, and the system's time is its own. */
function hasty(slept: (ms: number, signal: AbortSignal | undefined) => void = () => {}): Clock {
  return {
    ...systemClock,
    sleep: (ms, signal) => {
      slept(ms, signal)
      return systemClock.sleep(ms / 100, signal)
    },
  }
}

interface Serving {
  readonly folder: VolumeFolder
  readonly said: string[]
  readonly hasEnded: () => boolean
}

/** A volume server in this process, which ends with the test. */
async function serve(t: TestContext, more: Partial<VolumeServerParts>): Promise<Serving> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-server-'))
  const folder = volumeFolder(join(directory, 'v'))
  mkdirSync(folder.directory)
  const settings = { ...defaultVolume, backing: join(directory, 'backing'), bytes: 1024 * 1024 }
  const description = { version: 1, id, name: 'v', settings, agentDirectory: directory } as const
  const said: string[] = []
  const tell = (line: string): void => void said.push(line)
  const stop = new AbortController()
  const parts = { folder, description, software: 'test', clock: hasty(), random: systemRandom, tell, ...more }
  let hasEnded = false
  const over = serveVolume(parts, stop.signal).finally(() => (hasEnded = true))
  const settled = over.catch(() => undefined)
  t.after(async () => {
    stop.abort(new Error('the test is over'))
    await settled
    rmSync(directory, { recursive: true })
  })
  await until('the volume is served', () => said.some((line) => line.includes(' serves v')) || hasEnded)
  return { folder, said, hasEnded: () => hasEnded }
}

test('a volume that is let go is served as long as somebody uses it from afar', { timeout: 60_000 }, async (t) => {
  const authority = await newAuthority()
  const [own, users] = [
    await authority.sign('localhost', [{ type: 'dns', value: 'localhost' }]),
    await authority.sign('user', []),
  ]
  const port = await freePort()
  let looks = 0
  const { folder, said, hasEnded } = await serve(t, {
    listen: { host: '127.0.0.1', port, tls: { ...own, authority: authority.certificate } },
    clock: hasty((ms) => void (looks += Number(ms === 2000))),
  })
  const tls = { ...users, authority: authority.certificate, serverName: 'localhost' }
  const client = await NbdClient.connect({ at: { host: '127.0.0.1', port }, tls, exportName: 'v' }, t.signal)
  const control = await openControl(folder, t.signal)
  control.tell({ kind: 'release' })
  await until('it is let go', () => said.includes('the volume is no longer protected'))
  const before = looks
  await until('it was looked at who uses the volume', () => looks > before + 5 || hasEnded())
  control.end()
  await client.write(0, Buffer.alloc(4096, 1), { isForced: true })
  assert.ok(!hasEnded())
  await client[Symbol.asyncDispose]()
  await until('it ends', hasEnded)
})

test('a server that nobody uses for long holds no more than before', { timeout: 60_000 }, async (t) => {
  let inside: AbortSignal | undefined
  let looks = 0
  const clock = hasty((ms, signal) => {
    if (ms === 1000) inside = signal
    if (ms === 2000) looks++
  })
  await serve(t, { clock })
  await until('there were many looks', () => looks > 50)
  assert.ok(inside !== undefined)
  const listeners = getEventListeners(inside, 'abort').length
  assert.ok(listeners < 20, `${listeners} wait for its end`)
})

test(
  'a volume whose backing has grown is served so large to who connects from then on',
  { timeout: 60_000 },
  async (t) => {
    const { folder, said } = await serve(t, { clock: hasty() })
    const [before, after] = [1024 * 1024, 3 * 1024 * 1024]
    const at = { path: folder.nbd }
    const early = await NbdClient.connect({ at, exportName: 'v' }, t.signal)
    truncateSync(join(dirname(folder.directory), 'backing'), after)
    await until('it has grown', () => said.some((line) => line.includes(`grown from ${before} to ${after} bytes`)))
    await using late = await NbdClient.connect({ at, exportName: 'v' }, t.signal)
    assert.deepEqual([early.bytes, late.bytes], [before, after])
    const data = Buffer.alloc(4096, 7)
    await late.write(after - 4096, data, { isForced: true })
    await early.write(before - 4096, data, { isForced: true })
    assert.ok(data.equals(await late.read(after - 4096, 4096)) && data.equals(await late.read(before - 4096, 4096)))
    await early[Symbol.asyncDispose]()
    const control = await openControl(folder, t.signal)
    assert.equal(control.volume.bytes, after)
    control.end()
  },
)
