import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../base/clock.ts'
import { systemRandom } from '../base/random.ts'
import type { Id } from '../model/source.ts'
import { NbdClient } from '../nbd/client.ts'
import { listenTcp } from '../nbd/listen.ts'
import { memoryExport } from '../../test/support/memory-export.ts'
import { openVolumeTls } from './volume-tls.ts'

test('over the network a volume is served to who shows what its folder holds for clients, and to nobody else', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-tls-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const parts = { clock: systemClock, random: systemRandom }
  const volume = '0'.repeat(32) as Id
  const open = () => openVolumeTls(folder, volume, ['127.0.0.1', 'a-server'], parts)
  const tls = await open()
  assert.deepEqual(await open(), tls, 'what was made is kept')
  await using listener = await listenTcp({ host: '127.0.0.1', port: 0 }, [memoryExport({ name: 'disk1' })], {
    clock: systemClock,
    tls,
  })
  const file = (name: string): string => readFileSync(join(folder, 'client', name), 'utf8')
  const at = { host: '127.0.0.1', port: listener.port }
  const authority = file('ca-cert.pem')
  const { signal } = new AbortController()
  const known = { authority, certificate: file('client-cert.pem'), key: file('client-key.pem') }
  await using client = await NbdClient.connect({ at, exportName: 'disk1', tls: known }, signal)
  assert.equal((await client.read(0, 512)).length, 512)
  await assert.rejects(NbdClient.connect({ at, exportName: 'disk1', tls: { authority } }, signal))
  await assert.rejects(NbdClient.connect({ at, exportName: 'disk1' }, signal))
})
