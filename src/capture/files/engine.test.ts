import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeNode } from '../../base/syscalls/nodes.ts'
import { setXattr } from '../../base/syscalls/xattrs.ts'
import { needsRoot, openDriver, told } from '../../../test/capture-scratch.ts'

const bytes = (path: string): Buffer => Buffer.from(path, 'latin1')

test('everything a file system holds arrives as it is', { skip: needsRoot }, async (context) => {
  const driver = openDriver(context)
  const { top } = driver
  writeFileSync(join(top, 'empty'), '')
  writeFileSync(join(top, 'short'), 'a few bytes')
  writeFileSync(join(top, 'long'), randomBytes(700_000))
  mkdirSync(join(top, 'directory', 'below'), { recursive: true })
  linkSync(join(top, 'short'), join(top, 'directory', 'another name'))
  linkSync(join(top, 'long'), join(top, 'directory', 'long too'))
  symlinkSync(bytes('not \xff utf-8'), join(top, 'symlink'))
  writeFileSync(bytes(`${top}/name \xfe\xff`), 'bytes as they are')
  makeNode(`${top}/fifo`, { kind: 'fifo' }, 0o640)
  makeNode(`${top}/device`, { kind: 'block-device', major: 7, minor: 300 }, 0o600)
  const server = createServer().listen(join(top, 'socket'))
  context.after(() => server.close())
  chmodSync(join(top, 'long'), 0o4711)
  chownSync(join(top, 'long'), 1234, 4321)
  setXattr(join(top, 'directory'), 'user.note', Buffer.from([0, 1, 255]))
  // POSIX ACL, version 2: owner rwx, user 1000 r--, group r-x, mask r-x, other ---
  const acl = Buffer.from(
    '0200000001000700ffffffff02000400e803000004000500ffffffff10000500ffffffff20000000ffffffff',
    'hex',
  )
  setXattr(join(top, 'directory', 'below'), 'system.posix_acl_access', acl)
  const sparse = openSync(join(top, 'sparse'), 'w')
  ftruncateSync(sparse, 5_000_000)
  writeSync(sparse, 'island', 3_000_000)
  closeSync(sparse)
  utimesSync(join(top, 'short'), 1, 123.456)

  await driver.settleAndCompare()
  assert.ok(driver.sentBytes < 900_000, `holes are not sent: ${driver.sentBytes}`)

  // And once more, each of them changed.
  appendFileSync(join(top, 'directory', 'long too'), 'more')
  unlinkSync(join(top, 'symlink'))
  symlinkSync('elsewhere', join(top, 'symlink'))
  chmodSync(join(top, 'fifo'), 0o600)
  unlinkSync(join(top, 'device'))
  makeNode(`${top}/device`, { kind: 'character-device', major: 1, minor: 3 }, 0o600)
  setXattr(join(top, 'directory'), 'user.note', Buffer.from('other'))
  truncateSync(join(top, 'sparse'), 3_000_003)
  rmSync(join(top, 'empty'))
  mkdirSync(join(top, 'empty'))
  await driver.settleAndCompare()
})

test('a renamed directory of ten thousand files is one change', async (context) => {
  const driver = openDriver(context)
  const { top } = driver
  mkdirSync(join(top, 'from', 'deep'), { recursive: true })
  for (let index = 0; index < 10_000; index++) writeFileSync(join(top, 'from', 'deep', String(index)), String(index))
  await driver.settleAndCompare()
  const changes = await driver.changesOf(() => renameSync(join(top, 'from'), join(top, 'to')))
  assert.deepEqual(told(driver, changes), ['rename from to'])
  const inside = await driver.changesOf(() => writeFileSync(join(top, 'to', 'deep', '5'), 'changed'))
  assert.deepEqual(told(driver, inside), ['put to/deep/5'])
})

test('what is moved in is taken, what is moved out is gone', async (context) => {
  const driver = openDriver(context)
  const { top } = driver
  const outside = join(top, '..', 'outside')
  mkdirSync(join(outside, 'tree', 'below'), { recursive: true })
  writeFileSync(join(outside, 'tree', 'below', 'file'), 'from outside')
  await driver.settle()
  await driver.changesOf(() => renameSync(join(outside, 'tree'), join(top, 'tree')))
  driver.compare()
  await driver.changesOf(() => writeFileSync(join(top, 'tree', 'below', 'file'), 'followed now'))
  driver.compare()
  const changes = await driver.changesOf(() => renameSync(join(top, 'tree'), join(outside, 'tree')))
  assert.deepEqual(told(driver, changes), ['remove tree'])
  const nothing = await driver.changesOf(() => writeFileSync(join(outside, 'tree', 'below', 'file'), 'nobody looks'))
  assert.deepEqual(told(driver, nothing), [])
})

test('a big tree removed at once is one change', async (context) => {
  const driver = openDriver(context)
  const { top } = driver
  for (let index = 0; index < 300; index++) {
    mkdirSync(join(top, 'big', String(index % 17), String(index)), { recursive: true })
    writeFileSync(join(top, 'big', String(index % 17), String(index), 'file'), 'x')
  }
  await driver.settle()
  const changes = await driver.changesOf(() => rmSync(join(top, 'big'), { recursive: true }))
  assert.deepEqual(told(driver, changes), ['remove big'])
})

test('a file saved by writing beside it and renaming is put once', async (context) => {
  const driver = openDriver(context)
  const path = join(driver.top, 'document')
  writeFileSync(path, 'first')
  await driver.settle()
  const changes = await driver.changesOf(() => {
    writeFileSync(`${path}~`, 'second')
    renameSync(`${path}~`, path)
  })
  assert.deepEqual(told(driver, changes), ['put document'])
  driver.compare()
})

test('rotated logs are renamed, oldest first', async (context) => {
  const driver = openDriver(context)
  const log = join(driver.top, 'log')
  for (const suffix of ['', '.1', '.2']) writeFileSync(log + suffix, `log${suffix}`.repeat(400))
  await driver.settle()
  const changes = await driver.changesOf(() => {
    renameSync(`${log}.1`, `${log}.2`)
    renameSync(log, `${log}.1`)
    writeFileSync(log, 'new')
  })
  assert.deepEqual(told(driver, changes), ['rename log.1 log.2', 'rename log log.1', 'put log'])
  driver.compare()
})

test('a directory that comes out of what it replaces is kept whole', async (context) => {
  const driver = openDriver(context)
  const { top } = driver
  mkdirSync(join(top, 'outer', 'inner'), { recursive: true })
  writeFileSync(join(top, 'outer', 'inner', 'file'), randomBytes(100_000))
  await driver.settle()
  const sent = driver.sentBytes
  await driver.changesOf(() => {
    renameSync(join(top, 'outer', 'inner'), join(top, 'aside'))
    rmSync(join(top, 'outer'), { recursive: true })
    renameSync(join(top, 'aside'), join(top, 'outer'))
  })
  driver.compare()
  assert.equal(driver.sentBytes, sent)
})

test('a batch that says it is settled leaves the tree as the directory is', async (context) => {
  const driver = openDriver(context)
  const { top } = driver
  await driver.settle()
  let compared = 0
  driver.onSettled = () => {
    driver.compare()
    compared++
  }
  for (let index = 0; index < 30; index++) {
    mkdirSync(join(top, `d${index % 7}`), { recursive: true })
    writeFileSync(join(top, `d${index % 7}`, `f${index}`), randomBytes(index * 5000))
    if (index % 5 === 0) renameSync(join(top, `d${index % 7}`), join(top, `moved${index}`))
    await driver.settle()
  }
  assert.ok(compared > 5, `compared ${compared} times`)
})

test('excluded paths and the state directory are left out, and removed when they become excluded', async (context) => {
  const driver = openDriver(context, { exclude: ['*.tmp', '/cache/', '!keep.tmp'] })
  const { top } = driver
  mkdirSync(join(top, 'cache'))
  mkdirSync(join(top, 'sub', 'cache'), { recursive: true })
  for (const name of ['a.tmp', 'keep.tmp', 'cache/x', 'sub/cache/y', 'sub/b.tmp', 'plain'])
    writeFileSync(join(top, name), name)
  await driver.settle()
  await driver.changesOf(() => writeFileSync(join(top, 'cache', 'later'), 'x'))
  const paths = driver.tree.describe('' as never).map((line) => line.split(' ')[0]?.split('/source/')[1])
  assert.deepEqual(
    paths.filter((path) => path !== undefined),
    ['keep.tmp', 'plain', 'sub', 'sub/cache', 'sub/cache/y'],
  )
})

test('changes of single chunks of a large file are one patch, and appending costs its end', async (context) => {
  const driver = openDriver(context)
  const path = join(driver.top, 'large')
  writeFileSync(path, randomBytes(30_000_000))
  await driver.settleAndCompare()
  let sent = driver.sentBytes
  const patch = await driver.changesOf(() => {
    const fd = openSync(path, 'r+')
    writeSync(fd, randomBytes(4096), 0, 4096, 20_000_000)
    closeSync(fd)
  })
  assert.deepEqual(told(driver, patch), ['patch large'])
  assert.ok(driver.sentBytes - sent < 1_000_000)
  driver.compare()

  sent = driver.sentBytes
  const append = await driver.changesOf(() => appendFileSync(path, 'a line\n'))
  assert.deepEqual(told(driver, append), ['patch large'])
  assert.equal(driver.sentBytes, sent, 'a short line travels in the change')
  driver.compare()

  sent = driver.sentBytes
  const insert = await driver.changesOf(() => {
    const before = execFileSync('cat', [path], { maxBuffer: 1e9 })
    writeFileSync(
      path,
      Buffer.concat([before.subarray(0, 1_000_000), Buffer.from('inserted'), before.subarray(1_000_000)]),
    )
  })
  assert.equal(told(driver, insert).at(-1), 'rename .tidemark-staging/2 large')
  assert.ok(driver.sentBytes - sent < 2_000_000, 'what only moved is not sent again')
  driver.compare()

  await driver.changesOf(() => truncateSync(path, 17_000_000))
  driver.compare()
  await driver.changesOf(() => truncateSync(path, 1000))
  driver.compare()
})

test('a file that is appended to all the time is captured meanwhile', async (context) => {
  const driver = openDriver(context)
  const path = join(driver.top, 'log')
  await driver.settle()
  const written = randomBytes(3_000_000)
  const fd = openSync(path, 'a')
  for (let at = 0; at < written.length; at += 10_000) {
    writeSync(fd, written, at, 10_000)
    await driver.engine.turn()
    if (at % 50_000 === 0) await sleep(10)
    const file = driver.tree.fileAt(path)
    if (file !== undefined) assert.ok(written.subarray(0, file.length).equals(file), 'each version is one it had')
  }
  assert.ok((driver.tree.fileAt(path)?.length ?? 0) > 0, 'something arrived before the end')
  closeSync(fd)
  await driver.settleAndCompare()
})

test('versions of a file that is overwritten in place are states it had', async (context) => {
  const driver = openDriver(context)
  const path = join(driver.top, 'pages')
  const size = 2_000_000
  // All bytes of a state are alike, so a mixture of two shows.
  writeFileSync(path, Buffer.alloc(size, 1))
  await driver.settleAndCompare()
  for (let state = 2; state < 30; state++) {
    writeFileSync(path, Buffer.alloc(size, state))
    for (let turn = 0; turn < 3; turn++) await driver.engine.turn()
    const file = driver.tree.fileAt(path)
    assert.ok(
      file?.every((byte) => byte === file[0]),
      'no mixture',
    )
  }
  await driver.settleAndCompare()
})

test('what is already in the vault is not sent again', async (context) => {
  const driver = openDriver(context)
  const content = randomBytes(2_000_000)
  writeFileSync(join(driver.top, 'one'), content)
  await driver.settle()
  const sent = driver.sentBytes
  await driver.changesOf(() => writeFileSync(join(driver.top, 'two'), content))
  driver.compare()
  assert.equal(driver.sentBytes, sent)
})

test('without a line live changes are told all the same, and nothing is asked', async (context) => {
  const driver = openDriver(context)
  await driver.settle()
  driver.line(false)
  const { offers } = driver
  writeFileSync(join(driver.top, 'large'), randomBytes(3_000_000))
  mkdirSync(join(driver.top, 'a', 'b'), { recursive: true })
  writeFileSync(join(driver.top, 'a', 'b', 'c'), 'x')
  await driver.settleAndCompare()
  assert.equal(driver.offers, offers)
})

test("a user's mark comes after what was known when it was asked for", async (context) => {
  const driver = openDriver(context)
  await driver.settle()
  for (let index = 0; index < 50; index++) writeFileSync(join(driver.top, String(index)), 'x')
  driver.engine.receive({ kind: 'mark', tag: 5, label: 'before the upgrade' })
  await driver.until(() => driver.marks.length > 0)
  const [mark] = driver.marks
  assert.equal(mark?.tag, 5)
  const at = (mark?.sequence ?? 0) - 1
  assert.deepEqual(driver.changes[at], { kind: 'mark', mark: { type: 'user', label: 'before the upgrade' } })
  assert.equal(driver.changes.slice(0, at).filter(({ kind }) => kind === 'put').length >= 50, true)
})

test('a protected path that goes away is not taken as deleted, and is compared when it is back', async (context) => {
  const driver = openDriver(context)
  const { top } = driver
  writeFileSync(join(top, 'file'), 'stays')
  await driver.settle()
  const before = driver.tree.size
  renameSync(top, `${top}.away`)
  await driver.until(() => driver.report?.state === 'vanished')
  assert.equal(driver.tree.size, before)
  assert.deepEqual(
    driver.report?.problems.map(({ code }) => code),
    ['source-vanished'],
  )
  mkdirSync(top)
  await sleep(1200)
  await driver.engine.turn()
  assert.equal(driver.report?.state, 'vanished', 'an empty directory in its place is not it')
  rmSync(top, { recursive: true })
  writeFileSync(join(`${top}.away`, 'meanwhile'), 'x')
  renameSync(`${top}.away`, top)
  await driver.until(() => driver.report?.state === 'live')
  await driver.settleAndCompare()
  assert.ok(told(driver, driver.changes).join().includes('mark vanished,mark suspect vanished,'))
})

test('an unmounted file system below is not taken as deleted', { skip: needsRoot }, async (context) => {
  const driver = openDriver(context)
  const mount = join(driver.top, 'mount')
  mkdirSync(mount)
  execFileSync('mount', ['-t', 'tmpfs', 'none', mount])
  let isMounted = true
  const unmount = (): void => {
    if (isMounted) execFileSync('umount', [mount])
    isMounted = false
  }
  context.after(unmount)
  writeFileSync(join(mount, 'file'), 'on another file system')
  await driver.settleAndCompare()
  await driver.changesOf(() => writeFileSync(join(mount, 'file'), 'followed, too'))
  driver.compare()
  const before = driver.tree.size
  unmount()
  await driver.until(() => driver.report?.state === 'vanished')
  assert.equal(driver.tree.size, before)
  await sleep(1200)
  await driver.engine.turn()
  assert.equal(driver.tree.size, before)
})

test('a crowd of new files arrives whole', async (context) => {
  const driver = openDriver(context)
  await driver.settle()
  mkdirSync(join(driver.top, 'new'))
  for (let index = 0; index < 20_000; index++) writeFileSync(join(driver.top, 'new', String(index)), '')
  await driver.settle(300_000)
  assert.equal(driver.tree.describe('' as never).filter((line) => line.includes('/new/')).length, 20_000)
})

// Each makes three events for inotify, one for fanotify, which merges; their queues hold 16,384.
for (const [way, filesMax] of [
  ['fanotify', 18_000],
  ['inotify', 6000],
] as const) {
  test(
    `${way}: lost events make everything be compared`,
    { skip: way === 'fanotify' && needsRoot },
    async (context) => {
      const driver = openDriver(context, { watching: { allowed: [way], unlimitedQueue: false } })
      await driver.settle()
      assert.equal(driver.report?.watching, way)
      // More events than either queue holds, while nobody reads.
      for (let index = 0; index < filesMax; index++) writeFileSync(join(driver.top, String(index)), 'x')
      await driver.settle(300_000)
      const marks = told(driver, driver.changes).filter((line) => line.startsWith('mark') && line.endsWith('overflow'))
      assert.equal(marks[0], 'mark suspect overflow')
      assert.equal(marks.at(-1), 'mark complete overflow')
      driver.compare()
    },
  )
}
