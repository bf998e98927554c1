import assert from 'node:assert/strict'
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Inotify } from './inotify.ts'
import { type InotifyEvent, inotifyMask } from './inotify-events.ts'
import { waitReadable } from './poll.ts'
import { scratchFolder } from './scratch.ts'

test('what happens to the entries of a watched directory is told by name, and a rename by its cookie', (t) => {
  const folder = scratchFolder(t)
  const sub = join(folder, 'sub')
  mkdirSync(sub)
  using queue = new Inotify()
  const [above, below] = [queue.watchDirectory(folder), queue.watchDirectory(sub)]
  assert.deepEqual(queue.read(), [])

  writeFileSync(join(folder, 'file'), 'text')
  assert.deepEqual(waitReadable([queue.fd], 1000), [queue.fd])
  assert.deepEqual(
    queue.read().map((event) => event.kind === 'event' && [event.watch, event.mask, event.name]),
    [inotifyMask.create, inotifyMask.modify, inotifyMask.closeWrite].map((mask) => [above, mask, 'file']),
  )

  renameSync(join(folder, 'file'), join(sub, 'moved'))
  const [from, to] = queue.read() as Extract<InotifyEvent, { kind: 'event' }>[]
  assert.deepEqual([from?.watch, from?.mask, from?.name], [above, inotifyMask.movedFrom, 'file'])
  assert.deepEqual([to?.watch, to?.mask, to?.name], [below, inotifyMask.movedTo, 'moved'])
  assert.equal(from?.cookie, to?.cookie)
  assert.notEqual(from?.cookie, 0)
})

test('a watch ends with its directory, or when it is removed', (t) => {
  const folder = scratchFolder(t)
  const sub = join(folder, 'sub')
  mkdirSync(sub)
  using queue = new Inotify()
  const gone = queue.watchDirectory(sub)
  rmSync(sub, { recursive: true })
  assert.deepEqual(queue.read(), [
    { kind: 'event', watch: gone, mask: inotifyMask.deleteSelf, cookie: 0, name: undefined },
    { kind: 'ignored', watch: gone },
  ])
  assert.equal(queue.unwatch(gone), false)

  const watch = queue.watchDirectory(folder)
  assert.equal(queue.watchDirectory(`${folder}/.`), watch)
  assert.equal(queue.unwatch(watch), true)
  assert.deepEqual(queue.read(), [{ kind: 'ignored', watch }])
})

test('only directories are watched, and never through a symbolic link', (t) => {
  const folder = scratchFolder(t)
  writeFileSync(join(folder, 'file'), '')
  symlinkSync('.', join(folder, 'link'))
  using queue = new Inotify()
  assert.throws(() => queue.watchDirectory(join(folder, 'file')), { code: 'ENOTDIR', syscall: 'inotify_add_watch' })
  assert.throws(() => queue.watchDirectory(join(folder, 'link')), { code: 'ENOTDIR' })
})

test('a queue that runs over says so', (t) => {
  const folder = scratchFolder(t)
  using queue = new Inotify()
  queue.watchDirectory(folder)
  // Three events each, and the default limit is 16,384.
  for (let index = 0; index < 6000; index++) writeFileSync(join(folder, `${index}`), 'x')
  const events: InotifyEvent[] = []
  for (let some = queue.read(); some.length > 0; some = queue.read()) events.push(...some)
  assert.deepEqual(events.at(-1), { kind: 'overflow' })
})
