import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { CaptureDriver } from '../../../test/capture-driver.ts'
import { needsRoot, openDriver, told } from '../../../test/capture-scratch.ts'

function scratchFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-protected-'))
  context.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('several paths, one inside another, and a single file are protected together', async (context) => {
  const scratch = scratchFolder(context)
  for (const name of ['one', 'one/inner', 'two']) mkdirSync(join(scratch, name))
  writeFileSync(join(scratch, 'single'), 'a file')
  writeFileSync(join(scratch, 'beside'), 'not protected')
  const paths = ['one/inner', 'one', 'two', 'single'].map((name) => join(scratch, name))
  const driver = new CaptureDriver(scratch, { paths })
  context.after(() => driver.close())
  await driver.settle()
  writeFileSync(join(scratch, 'one', 'inner', 'a'), 'a')
  renameSync(join(scratch, 'one', 'inner', 'a'), join(scratch, 'two', 'b'))
  writeFileSync(join(scratch, 'single.new'), 'another file')
  renameSync(join(scratch, 'single.new'), join(scratch, 'single'))
  writeFileSync(join(scratch, 'beside'), 'changed')
  await driver.settle()
  for (const name of ['one', 'two', 'single']) driver.compare(join(scratch, name))
  assert.equal(driver.tree.fileAt(join(scratch, 'beside')), undefined)
})

test('a protected path may be a symbolic link: what it leads to is protected under its name', async (context) => {
  const scratch = scratchFolder(context)
  mkdirSync(join(scratch, 'real', 'below'), { recursive: true })
  symlinkSync('real', join(scratch, 'link'))
  const driver = new CaptureDriver(scratch, { paths: [join(scratch, 'link')] })
  context.after(() => driver.close())
  await driver.settle()
  writeFileSync(join(scratch, 'real', 'below', 'file'), 'through the link')
  await driver.settle()
  assert.equal(driver.tree.fileAt(join(scratch, 'link', 'below', 'file'))?.toString(), 'through the link')
})

test('a directory that stands at two places of the source is captured at both, and compared where nobody tells of it', async (context) => {
  const scratch = scratchFolder(context)
  mkdirSync(join(scratch, 'real', 'below'), { recursive: true })
  writeFileSync(join(scratch, 'real', 'below', 'file'), 'first')
  symlinkSync('real', join(scratch, 'alias'))
  const places = [join(scratch, 'alias'), join(scratch, 'real')]
  const driver = new CaptureDriver(scratch, { paths: places })
  context.after(() => driver.close())
  await driver.settle()
  assert.match(driver.report?.watching ?? '', /scanning/)
  writeFileSync(join(scratch, 'real', 'below', 'file'), 'second')
  driver.engine.receive({ kind: 'reconcile' })
  await driver.settle()
  for (const place of places)
    assert.equal(driver.tree.fileAt(join(place, 'below', 'file'))?.toString(), 'second', place)
  assert.ok(!driver.changes.some(({ kind }) => kind === 'rename' || kind === 'link'))
  renameSync(join(scratch, 'real', 'below'), join(scratch, 'real', 'moved'))
  driver.engine.receive({ kind: 'reconcile' })
  await driver.settle()
  for (const place of places) {
    assert.equal(driver.tree.fileAt(join(place, 'moved', 'file'))?.toString(), 'second', place)
    assert.equal(driver.tree.fileAt(join(place, 'below', 'file')), undefined, place)
  }
})

test(
  'what cannot be read is a problem by name, the rest goes on, and the older version stands',
  { skip: needsRoot },
  async (context) => {
    const driver = openDriver(context, { watching: { allowed: ['inotify'], unlimitedQueue: true } })
    const { top } = driver
    const secret = join(top, 'secret')
    writeFileSync(secret, 'first')
    mkdirSync(join(top, 'closed'))
    writeFileSync(join(top, 'closed', 'file'), 'stays')
    await driver.settle()
    chmodSync(join(top, '..'), 0o777)
    chmodSync(secret, 0o600)
    chmodSync(join(top, 'closed'), 0o700)
    await driver.settle()
    writeFileSync(secret, 'second')
    writeFileSync(join(top, 'open'), 'x')
    writeFileSync(join(top, 'closed', 'file'), 'changed')
    process.seteuid?.(65_534)
    context.after(() => process.seteuid?.(0))
    await driver.until(
      () => driver.report?.problems.some(({ message }) => /secret cannot be read/.test(message)) === true,
    )
    await driver.until(() => driver.tree.fileAt(join(top, 'open')) !== undefined)
    assert.equal(driver.tree.fileAt(secret)?.toString(), 'first')
    assert.equal(driver.tree.fileAt(join(top, 'closed', 'file'))?.toString(), 'stays')
    process.seteuid?.(0)
    driver.engine.receive({ kind: 'reconcile' })
    await driver.settleAndCompare()
    assert.deepEqual(driver.report?.problems, [])
  },
)

test('a file written all over without pause is torn or is a state it had, and is captured when there is a pause', async (context) => {
  const driver = openDriver(context)
  const path = join(driver.top, 'busy')
  writeFileSync(path, Buffer.alloc(12_000_000, 1))
  await driver.settle()
  // Each round makes all bytes another one; a mixture would show.
  const writer = spawn(process.execPath, [
    '-e',
    `const fs = require('fs'); const fd = fs.openSync(${JSON.stringify(path)}, 'r+')
     const end = Date.now() + 1500
     for (let round = 2; Date.now() < end; round++) {
       const page = Buffer.alloc(65536, round)
       for (let at = 0; at < 12_000_000 - 65536; at += 65536) fs.writeSync(fd, page, 0, 65536, at)
       fs.writeSync(fd, page, 0, 12_000_000 % 65536, 12_000_000 - (12_000_000 % 65536))
     }`,
  ])
  const writing = { isOver: false }
  const ended = once(writer, 'exit').then(() => (writing.isOver = true))
  let versions = 0
  let seen = driver.changes.length
  while (!writing.isOver) {
    await driver.until(() => driver.changes.length > seen || writing.isOver)
    seen = driver.changes.length
    const file = driver.tree.fileAt(path)
    const kinds = new Set<number>()
    for (let at = 0; at < 11_900_000; at += 65_536) kinds.add(file?.[at] ?? -1)
    // Between two writes of a page the file really is a mixture, of two neighbours with one step between them.
    assert.ok(kinds.size <= 2, `version ${versions} has pages of ${kinds.size} rounds`)
    versions++
  }
  await ended
  await driver.settleAndCompare()
  assert.ok(told(driver, driver.changes).length > 0)
})
