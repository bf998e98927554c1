import assert from 'node:assert/strict'
import { once } from 'node:events'
import { lstatSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import * as fc from 'fast-check'
import { needsRoot, scratchFolder, toBinary } from './scratch.ts'
import { getXattr, listXattrs, readXattrs, removeXattr, setXattr } from './xattrs.ts'

test('attributes come back as they were set, sorted by the bytes of their names', (t) => {
  const file = join(scratchFolder(t), 'file')
  writeFileSync(file, '')
  const values = new Map([
    ['user.zebra', Buffer.alloc(0)],
    ['user.binary', Buffer.from([0, 1, 255, 0])],
    [toBinary('user.größe'), Buffer.from('x'.repeat(2500))],
    ['user.\xff', Buffer.from('name that is not UTF-8')],
  ])
  for (const [name, value] of values) setXattr(file, name, value)
  const read = readXattrs(file).filter(({ name }) => name.startsWith('user.'))
  assert.deepEqual(
    read.map(({ name }) => name),
    ['user.binary', toBinary('user.größe'), 'user.zebra', 'user.\xff'],
  )
  for (const { name, value } of read) assert.deepEqual(value, values.get(name), name)
})

test('any value is kept', (t) => {
  const file = join(scratchFolder(t), 'file')
  writeFileSync(file, '')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), (value) => {
      setXattr(file, 'user.any', value)
      assert.deepEqual(getXattr(file, 'user.any'), Buffer.from(value))
    }),
  )
})

test('a list longer than the first buffer is read whole', (t) => {
  const file = join(scratchFolder(t), 'file')
  writeFileSync(file, '')
  const names = Array.from({ length: 20 }, (_, index) => `user.${'n'.repeat(100)}${String(index).padStart(2, '0')}`)
  for (const name of names) setXattr(file, name, Buffer.from('v'))
  assert.deepEqual(
    listXattrs(file).filter((name) => name.startsWith('user.n')),
    names,
  )
})

test('a value that grows and shrinks while it is read comes back whole in one of its states', async (t) => {
  const file = join(scratchFolder(t), 'file')
  writeFileSync(file, '')
  setXattr(file, 'user.changing', Buffer.alloc(10, 1))
  const writer = new Worker(
    `const { workerData, parentPort } = require('node:worker_threads')
     import(workerData.door).then(({ setXattr }) => {
       for (let round = 0; round < 4000; round++) setXattr(workerData.file, 'user.changing', Buffer.alloc(round % 2 ? 3000 : 10, 1))
       parentPort.postMessage('done')
     })`,
    { eval: true, workerData: { file, door: new URL('./xattrs.ts', import.meta.url).href } },
  )
  const ended = once(writer, 'exit')
  const done = new AbortController()
  writer.once('message', () => done.abort())
  const sizes = new Set<number>()
  try {
    while (!done.signal.aborted) {
      for (let round = 0; round < 100; round++) sizes.add(getXattr(file, 'user.changing')?.length ?? -1)
      await new Promise(setImmediate)
    }
  } finally {
    await writer.terminate()
    await ended
  }
  for (const size of sizes) assert.ok(size === 10 || size === 3000, `${size} bytes`)
})

test('an absent attribute is undefined, and removing it twice fails', (t) => {
  const file = join(scratchFolder(t), 'file')
  writeFileSync(file, '')
  assert.equal(getXattr(file, 'user.absent'), undefined)
  setXattr(file, 'user.once', Buffer.from('1'))
  removeXattr(file, 'user.once')
  assert.throws(() => removeXattr(file, 'user.once'), { code: 'ENODATA' })
})

test('an absent path is an error and not a path without attributes', (t) => {
  assert.throws(() => readXattrs(join(scratchFolder(t), 'absent')), { code: 'ENOENT', syscall: 'llistxattr' })
})

test('a file system without attributes has none', () => {
  assert.deepEqual(readXattrs('/proc/self/stat'), [])
  assert.equal(getXattr('/proc/self/stat', 'user.any'), undefined)
})

test('the attributes of a symbolic link are its own', { skip: needsRoot }, (t) => {
  const folder = scratchFolder(t)
  const file = join(folder, 'file')
  const link = join(folder, 'link')
  writeFileSync(file, '')
  symlinkSync('file', link)
  setXattr(link, 'trusted.link', Buffer.from('of the link'))
  assert.deepEqual(getXattr(link, 'trusted.link'), Buffer.from('of the link'))
  assert.equal(getXattr(file, 'trusted.link'), undefined)
  assert.ok(lstatSync(link).isSymbolicLink())
})

test('POSIX ACLs are read and written as attributes', (t) => {
  const folder = join(scratchFolder(t), 'folder')
  mkdirSync(folder, { mode: 0o750 })
  // Version 2, then entries of tag, permissions and id: owner rwx, user 1000 r-x, group r-x, mask r-x, others none.
  const acl = aclBytes([
    [0x01, 7, -1],
    [0x02, 5, 1000],
    [0x04, 5, -1],
    [0x10, 5, -1],
    [0x20, 0, -1],
  ])
  for (const name of ['system.posix_acl_access', 'system.posix_acl_default']) setXattr(folder, name, acl)
  assert.deepEqual(
    readXattrs(folder).filter(({ name }) => name.startsWith('system.')),
    [
      { name: 'system.posix_acl_access', value: acl },
      { name: 'system.posix_acl_default', value: acl },
    ],
  )
  assert.equal(statSync(folder).mode & 0o777, 0o750)
})

function aclBytes(entries: [tag: number, permissions: number, id: number][]): Buffer {
  const bytes = Buffer.alloc(4 + 8 * entries.length)
  bytes.writeUInt32LE(2, 0)
  entries.forEach(([tag, permissions, id], index) => {
    bytes.writeUInt16LE(tag, 4 + 8 * index)
    bytes.writeUInt16LE(permissions, 6 + 8 * index)
    bytes.writeInt32LE(id, 8 + 8 * index)
  })
  return bytes
}
