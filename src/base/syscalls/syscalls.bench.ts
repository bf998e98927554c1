import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeFanotify, type FanotifyEvent } from './fanotify-events.ts'
import { Fanotify, fanotifyObstacle } from './fanotify.ts'
import { filesystemOf } from './filesystem.ts'
import { handleOf } from './handle.ts'
import { setTimes } from './times.ts'
import { readXattrs, setXattr } from './xattrs.ts'

// The figures of docs/decisions/0004-system-calls.md: node src/base/syscalls/syscalls.bench.ts

const calls = 100_000
const folder = mkdtempSync(join(tmpdir(), 'tidemark-syscalls-'))
const path = join(folder, 'file')
try {
  const started = performance.now()
  const { fsid } = filesystemOf(folder)
  say(`first call, koffi loaded: ${(performance.now() - started).toFixed(1)} ms`)

  writeFileSync(path, 'text')
  perCall('readXattrs, no attribute', () => readXattrs(path))
  setXattr(path, 'user.one', Buffer.from('value'))
  perCall('readXattrs, one attribute', () => readXattrs(path))
  perCall('setTimes', () => setTimes(path, { modified: 1_234_567_890n }))
  perCall('handleOf', () => handleOf(path))
  perCall('handleOf, file system known', () => handleOf(path, fsid))
  decoding()
  if (fanotifyObstacle(folder) === undefined) watching()
} finally {
  rmSync(folder, { recursive: true })
}

function decoding(): void {
  const event = Buffer.from(
    '54000000030018000a01000000000000ffffffff5c1e000002002000fc998ae1a23ee5fa0800000001000000bc2f2500f583d9876100000001001c00fc998ae1a23ee5fa0800000001000000bd2f2500a858fa43',
    'hex',
  )
  const bufferful = Buffer.concat(Array.from({ length: 1000 }, () => event))
  let events: FanotifyEvent[] = []
  const started = performance.now()
  for (let round = 0; round < 500; round++) events = decodeFanotify(bufferful)
  say(`decodeFanotify: ${((500 * events.length) / (performance.now() - started) / 1000).toFixed(2)} million events/s`)
}

function watching(): void {
  using group = new Fanotify({ unlimitedQueue: true })
  group.watchFilesystem(folder)
  for (let index = 0; index < 10_000; index++) writeFileSync(join(folder, `${index}`), '')
  for (let index = 0; index < 10_000; index++) unlinkSync(join(folder, `${index}`))
  const started = performance.now()
  let count = 0
  for (let some = group.read(); some.length > 0; some = group.read()) count += some.length
  say(
    `draining a fanotify queue of ${count}: ${(count / (performance.now() - started) / 1000).toFixed(2)} million events/s`,
  )
}

function perCall(name: string, call: () => void): void {
  const started = performance.now()
  for (let index = 0; index < calls; index++) call()
  say(`${name}: ${(((performance.now() - started) / calls) * 1000).toFixed(2)} µs`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
