import assert from 'node:assert/strict'
import { once } from 'node:events'
import { linkSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import { newAuthority } from '../../test/support/certificates.ts'
import { memoryExport } from '../../test/support/memory-export.ts'
import { scratchFolder } from '../../test/support/nbd-programs.ts'
import { systemClock } from '../base/clock.ts'
import { listExports, NbdClient } from './client.ts'
import { connectionsMax, listenTcp, listenUnix } from './listen.ts'
import { command, handshakeFlag, option } from './numbers.ts'
import { encodeClientFlags, encodeExportQuestion, encodeOption } from './options.ts'
import { NbdRefused } from './refused.ts'
import { encodeRequest } from './requests.ts'

const serving = { clock: systemClock }
const soon = { ...serving, lingerMs: 50 }
/** What is to be heard before a connection ends is heard, however long this machine stands still. */
const patient = { ...serving, lingerMs: 600_000 }
const hello = encodeClientFlags(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes)
const chooseOnly = encodeOption(option.go, encodeExportQuestion({ name: '', infos: [] }))

const socketPath = (t: TestContext): string => `${scratchFolder(t)}/nbd.sock`

/** Says these bytes and listens until the server hangs up. */
async function say(path: string, ...parts: readonly Buffer[]): Promise<Buffer> {
  const socket = net.connect(path)
  const heard: Buffer[] = []
  socket.on('data', (piece: Buffer) => heard.push(piece)).on('error', () => undefined)
  for (const part of parts) socket.write(part)
  await once(socket, 'close')
  return Buffer.concat(heard)
}

/** Polled, because what it waits for has no event. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
}

test('what clients write is what clients read, over any connection', async (t) => {
  const path = socketPath(t)
  const disk = memoryExport({ bytes: 64 * 1024 * 1024, hasFastZero: true })
  await using _listener = await listenUnix({ path }, [disk], serving)
  await using client = await NbdClient.connect({ at: { path }, hasAllocation: true }, t.signal)
  await using other = await NbdClient.connect({ at: { path }, isStructured: false }, t.signal)
  assert.equal(client.bytes, disk.bytes)
  assert.equal(client.isReadOnly, false)
  await Promise.all(
    [1, 600, 4096, 130_000, 300_000, 5_000_000].map(async (bytes, index) => {
      const at = index * 8_000_000 + 17
      const data = Buffer.alloc(bytes, index + 1)
      await client.write(at, data, { isForced: index % 2 === 0 })
      assert.ok((await client.read(at, bytes)).equals(data))
      assert.ok((await other.read(at, bytes)).equals(data))
    }),
  )
  await client.flush()
  await client.zero(17, 4096, { isFast: true, mayMakeHole: false })
  await client.trim(0, 8192)
  assert.deepEqual(await client.blockStatus(0, 8192), [{ at: 0, bytes: 8192, is: 'hole' }])
  assert.deepEqual(await other.blockStatus(0, 8192), [{ at: 0, bytes: 8192, is: 'data' }])
})

test('thousands of requests at once all come to their end, whatever their size', async (t) => {
  const path = socketPath(t)
  const disk = memoryExport({ bytes: 16 * 1024 * 1024 })
  await using _listener = await listenUnix({ path }, [disk], serving)
  await using client = await NbdClient.connect({ at: { path } }, t.signal)
  const parts = Array.from({ length: 2000 }, (_, index) => ({ at: index * 8192, data: Buffer.alloc(8192, index) }))
  await Promise.all(parts.map(({ at, data }) => client.write(at, data)))
  const wanted = Buffer.concat(parts.map(({ data }) => data))
  assert.ok(disk.memory.subarray(0, wanted.length).equals(wanted))
  const found = await Promise.all(parts.map(({ at }) => client.read(at, 8192)))
  assert.ok(Buffer.concat(found).equals(wanted))
  const whole = await Promise.all(Array.from({ length: 8 }, () => client.read(0, disk.bytes)))
  for (const one of whole) assert.ok(one.equals(disk.memory))
})

test('a request that is refused fails alone', async (t) => {
  const path = socketPath(t)
  await using _listener = await listenUnix({ path }, [memoryExport({ isReadOnly: true })], serving)
  await using client = await NbdClient.connect({ at: { path } }, t.signal)
  assert.ok(client.isReadOnly)
  await assert.rejects(
    client.write(0, Buffer.alloc(10)),
    (error) => error instanceof NbdRefused && error.error === 'EPERM',
  )
  await assert.rejects(client.read(client.bytes, 1), (error) => error instanceof NbdRefused && error.error === 'EINVAL')
  assert.equal((await client.read(client.bytes - 1, 1)).length, 1)
})

test('exports are listed, chosen by name, and unknown where they are', async (t) => {
  const path = socketPath(t)
  const names = ['one', 'two']
  await using _listener = await listenUnix(
    { path },
    names.map((name) => memoryExport({ name })),
    serving,
  )
  assert.deepEqual(
    (await listExports({ at: { path } }, t.signal)).map(({ name }) => name),
    names,
  )
  await using client = await NbdClient.connect({ at: { path }, exportName: 'two' }, t.signal)
  await client.flush()
  await assert.rejects(NbdClient.connect({ at: { path }, exportName: 'three' }, t.signal), { code: 'not-found' })
})

test('a client in the middle of a write that dies has written nothing of it', async (t) => {
  const path = socketPath(t)
  const disk = memoryExport()
  await using listener = await listenUnix({ path }, [disk], serving)
  for (const bytes of [1000, 500_000]) {
    const socket = net.connect(path)
    socket.write(hello)
    socket.write(chooseOnly)
    socket.write(encodeRequest({ command: command.write, flags: 0, at: 0, bytes }, 1))
    socket.write(Buffer.alloc(bytes - 1, 1))
    await until(() => [...listener.connections].some((connection) => connection.export === disk))
    socket.resume().destroy()
    await until(() => listener.connections.size === 0)
  }
  assert.deepEqual(disk.taken, [])
})

test('what waits of a client that has died is not done after others were heard', async (t) => {
  const path = socketPath(t)
  const disk = memoryExport({ bytes: 32 * 1024 * 1024 })
  await using listener = await listenUnix({ path }, [disk], soon)
  disk.hold()
  const dying = net.connect(path)
  dying.write(Buffer.concat([hello, chooseOnly]))
  dying.write(encodeRequest({ command: command.read, flags: 0, at: 0, bytes: disk.bytes }, 1))
  const old = encodeRequest({ command: command.write, flags: 0, at: 0, bytes: 16 }, 2)
  // Held back, because the read before it takes all there is to hold.
  dying.write(Buffer.concat([old, Buffer.alloc(16, 'old')]))
  await until(() => disk.waiting.length === 1)
  dying.resume().destroy()
  await once(dying, 'close')
  await using client = await NbdClient.connect({ at: { path } }, t.signal)
  const written = client.write(0, Buffer.alloc(4096, 'new'))
  await until(() => disk.waiting.length === 2)
  disk.release(([read, ...others]) => {
    // Makes room at once for what waited behind it.
    read?.answer.failed('EIO')
    return others
  })
  await written
  await until(() => listener.connections.size === 1)
  assert.deepEqual(
    disk.taken.map(({ kind }) => kind),
    ['read', 'write'],
  )
  assert.ok(disk.memory.subarray(0, 4096).equals(Buffer.alloc(4096, 'new')))
})

test('the socket is for this user alone, a dead server’s is replaced and a live one’s is not', async (t) => {
  const path = socketPath(t)
  const dead = net.createServer().listen(path)
  await once(dead, 'listening')
  // What a killed server leaves: a socket that nobody listens at.
  linkSync(path, `${path}.kept`)
  await new Promise((resolve) => dead.close(resolve))
  renameSync(`${path}.kept`, path)
  await using listener = await listenUnix({ path }, [memoryExport()], serving)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  await assert.rejects(listenUnix({ path }, [memoryExport()], serving), { code: 'already-running' })
  await using client = await NbdClient.connect({ at: { path } }, t.signal)
  await client.flush()
  await client[Symbol.asyncDispose]()
  await listener[Symbol.asyncDispose]()
  assert.throws(() => statSync(path), { code: 'ENOENT' })
})

test('a file in the place of the socket is left alone', async (t) => {
  const path = socketPath(t)
  writeFileSync(path, 'mine')
  await assert.rejects(listenUnix({ path }, [memoryExport()], serving), { code: 'already-exists' })
  assert.equal(readFileSync(path, 'utf8'), 'mine')
})

test('bytes that are not NBD are hung up on', async (t) => {
  const path = socketPath(t)
  const noted: string[] = []
  await using _listener = await listenUnix({ path }, [memoryExport()], { ...soon, noted: (text) => noted.push(text) })
  await say(path, Buffer.from('GET / HTTP/1.1\r\n\r\n'))
  await say(path, hello, chooseOnly, Buffer.from('GET / HTTP/1.1\r\nHost: here\r\n\r\n'))
  assert.equal(noted.length, 2)
})

test('a client that says nothing is hung up on after a while', async (t) => {
  const path = socketPath(t)
  await using _listener = await listenUnix({ path }, [memoryExport()], { ...soon, handshakeMs: 20 })
  assert.equal((await say(path)).subarray(0, 8).toString(), 'NBDMAGIC')
})

test('there are only so many connections, and their descriptors are seen by other threads', async (t) => {
  const path = socketPath(t)
  await using listener = await listenUnix({ path }, [memoryExport()], soon)
  const sockets = Array.from({ length: connectionsMax + 1 }, () =>
    net
      .connect(path)
      .on('error', () => undefined)
      .resume(),
  )
  t.after(() => sockets.forEach((socket) => socket.destroy()))
  await Promise.race(sockets.map((socket) => once(socket, 'close')))
  assert.equal(listener.connections.size, connectionsMax)
  assert.equal(new Set(listener.live.descriptors).size, connectionsMax)
  for (const socket of sockets) socket.destroy()
  await until(() => listener.connections.size === 0)
  assert.ok(listener.live.descriptors.every((descriptor) => descriptor === -1))
})

test('a server that ends answers what it took, refuses what comes, and hangs up', async (t) => {
  const path = socketPath(t)
  const disk = memoryExport()
  const listener = await listenUnix({ path }, [disk], patient)
  const client = await NbdClient.connect({ at: { path } }, t.signal)
  disk.hold()
  const taken = client.write(0, Buffer.alloc(4096, 1))
  await until(() => disk.waiting.length === 1)
  const ended = listener[Symbol.asyncDispose]()
  const late = client.flush()
  await assert.rejects(late, (error) => error instanceof NbdRefused && error.error === 'ESHUTDOWN')
  disk.release()
  await taken
  await ended
  await assert.rejects(client.flush(), { code: 'unreachable' })
})

test('a server that ends does not wait for ever for an export that does not answer', async (t) => {
  const path = socketPath(t)
  const disk = memoryExport()
  const listener = await listenUnix({ path }, [disk], soon)
  const client = await NbdClient.connect({ at: { path } }, t.signal)
  disk.hold()
  const lost = assert.rejects(client.flush(), { code: 'unreachable' })
  await until(() => disk.waiting.length === 1)
  await listener[Symbol.asyncDispose]()
  await lost
  // Nobody hears it, and nobody minds.
  disk.release()
})

test('over TLS, a client that trusts the authority and shows its own certificate is served', async (t) => {
  const authority = await newAuthority()
  const stranger = await newAuthority()
  const server = await authority.sign('server', [{ type: 'dns', value: 'localhost' }])
  const own = await authority.sign('client', [])
  const foreign = await stranger.sign('client', [])
  const disk = memoryExport({ bytes: 8 * 1024 * 1024 })
  const tls = { key: server.key, certificate: server.certificate, authority: authority.certificate }
  await using listener = await listenTcp({ host: '127.0.0.1', port: 0 }, [disk], { ...patient, tls })
  const at = { host: '127.0.0.1', port: listener.port }
  const trust = { authority: authority.certificate, serverName: 'localhost' }
  await using client = await NbdClient.connect({ at, tls: { ...trust, ...own } }, t.signal)
  const data = Buffer.alloc(5_000_000, 'tls')
  await client.write(1, data)
  assert.ok((await client.read(1, data.length)).equals(data))
  await assert.rejects(NbdClient.connect({ at }, t.signal), { code: 'tls-refused' })
  await assert.rejects(NbdClient.connect({ at, tls: { ...trust, ...foreign } }, t.signal))
  await assert.rejects(NbdClient.connect({ at, tls: trust }, t.signal))
  const others = { ...trust, ...own, authority: stranger.certificate }
  await assert.rejects(NbdClient.connect({ at, tls: others }, t.signal), { code: 'tls-refused' })
  const elsewhere = { ...trust, ...own, serverName: 'elsewhere' }
  await assert.rejects(NbdClient.connect({ at, tls: elsewhere }, t.signal), { code: 'tls-refused' })
})

test('bytes that are sent in the clear before TLS begins are not taken for bytes that came through it', async () => {
  const authority = await newAuthority()
  const server = await authority.sign('server', [{ type: 'dns', value: 'localhost' }])
  const noted: string[] = []
  const tls = { key: server.key, certificate: server.certificate }
  await using listener = await listenTcp({ host: '127.0.0.1', port: 0 }, [memoryExport()], {
    ...soon,
    tls,
    noted: (text) => noted.push(text),
  })
  const socket = net.connect(listener.port, '127.0.0.1').on('error', () => undefined)
  socket.write(Buffer.concat([hello, encodeOption(option.startTls), chooseOnly]))
  await once(socket.resume(), 'close')
  assert.match(noted.join(), /before TLS/)
})

test('without TLS nobody is served beyond this machine', async () => {
  await assert.rejects(listenTcp({ host: '0.0.0.0', port: 0 }, [memoryExport()], serving), { code: 'bad-request' })
})

test('a client’s signal ends what it waits for', async (t) => {
  const path = socketPath(t)
  const disk = memoryExport()
  await using _listener = await listenUnix({ path }, [disk], soon)
  const stop = new AbortController()
  const client = await NbdClient.connect({ at: { path } }, stop.signal)
  disk.hold()
  const asked = client.flush()
  stop.abort(new Error('enough'))
  await assert.rejects(asked, /enough/)
  await assert.rejects(client.flush(), /enough/)
  await assert.rejects(NbdClient.connect({ at: { path } }, stop.signal), /enough/)
  disk.release()
})
