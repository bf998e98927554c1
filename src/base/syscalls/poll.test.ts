import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { hasHungUp, waitReadable } from './poll.ts'
import { Wake, ring } from './wake.ts'

test('waiting ends at its time when nothing happens', () => {
  using wake = new Wake()
  const started = performance.now()
  assert.deepEqual(waitReadable([wake.fd], 50), [])
  assert.ok(performance.now() - started >= 49)
})

test('exactly the readable descriptors are told', () => {
  using one = new Wake()
  using two = new Wake()
  using three = new Wake()
  ring(two.fd)
  ring(two.fd)
  assert.deepEqual(waitReadable([one.fd, two.fd, three.fd], 1000), [two.fd])
  two.clear()
  assert.deepEqual(waitReadable([one.fd, two.fd, three.fd], 0), [])
  two.clear()
})

test('a closed descriptor is an error and not a wait', () => {
  const wake = new Wake()
  const { fd } = wake
  wake[Symbol.dispose]()
  assert.throws(() => waitReadable([fd], 1000), { code: 'EBADF', syscall: 'poll' })
})

test('another thread wakes one that waits for ever, and closing descriptors there raises no warning', async (t) => {
  const poller = new Worker(
    `const { workerData, parentPort } = require('node:worker_threads')
     process.on('warning', (warning) => parentPort.postMessage(String(warning)))
     Promise.all(workerData.doors.map((door) => import(door))).then(async ([{ waitReadable }, { Wake }]) => {
       const wake = new Wake()
       parentPort.postMessage(wake.fd)
       waitReadable([wake.fd], Infinity)
       wake[Symbol.dispose]()
       await new Promise((resolve) => setTimeout(resolve, 20))
       parentPort.postMessage('woken')
     })`,
    {
      eval: true,
      workerData: { doors: [new URL('./poll.ts', import.meta.url).href, new URL('./wake.ts', import.meta.url).href] },
    },
  )
  t.after(() => poller.terminate())
  const [fd] = (await once(poller, 'message')) as [number]
  await new Promise((resolve) => setTimeout(resolve, 30))
  ring(fd)
  assert.deepEqual(await once(poller, 'message'), ['woken'])
})

test('a socket whose other end has hung up is told from one that only has something to read', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = await accepted
  t.after(() => socket.destroy())
  socket.pause()
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
  await new Promise((resolve) => client.write('unread', resolve))
  assert.deepEqual(waitReadable([fd], 60_000), [fd])
  assert.equal(hasHungUp(fd), false)
  client.destroy()
  await once(client, 'close')
  while (!hasHungUp(fd)) await new Promise((resolve) => setTimeout(resolve, 5))
})
