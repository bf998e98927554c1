import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { memoryExport } from '../../test/support/memory-export.ts'
import { systemClock } from '../base/clock.ts'
import { NbdClient } from './client.ts'
import { listenUnix } from './listen.ts'

const serving = { clock: systemClock }

function socketPath(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-nbd-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return join(folder, 'nbd.sock')
}

test('what a client writes is what it reads', async (t) => {
  const path = socketPath(t)
  const disk = memoryExport({ bytes: 64 * 1024 * 1024 })
  await using _listener = await listenUnix({ path }, [disk], serving)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  await using client = await NbdClient.connect({ at: { path }, hasAllocation: true }, t.signal)
  assert.equal(client.bytes, disk.bytes)
  await Promise.all(
    [1, 600, 4096, 130_000, 300_000, 5_000_000].map(async (bytes, index) => {
      const at = index * 8_000_000 + 17
      const data = Buffer.alloc(bytes, index + 1)
      await client.write(at, data, { isForced: index % 2 === 0 })
      assert.ok((await client.read(at, bytes)).equals(data))
    }),
  )
  await client.flush()
  await client.zero(17, 4096 * 3)
  assert.deepEqual(await client.blockStatus(0, 8192), [{ at: 0, bytes: 8192, is: 'hole' }])
})
