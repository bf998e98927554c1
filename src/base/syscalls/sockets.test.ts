import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { peerOf, shutDown } from './sockets.ts'

const descriptorOf = (socket: net.Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd

test('a Unix socket tells who connected, and can be ended from outside', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-sockets-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const server = net.createServer()
  t.after(() => server.close())
  server.listen(join(folder, 's'))
  await once(server, 'listening')
  const client = net.connect(join(folder, 's'))
  const [served] = (await once(server, 'connection')) as [net.Socket]
  assert.deepEqual(peerOf(descriptorOf(served)), { pid: process.pid, uid: process.getuid?.() })
  client.resume()
  const ended = once(client, 'end')
  shutDown(descriptorOf(served))
  await ended
  client.destroy()
  served.destroy()
})
