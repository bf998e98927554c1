import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Fanotify, fanotifyObstacle } from './fanotify.ts'
import { type FanotifyEvent, fanotifyMask } from './fanotify-events.ts'
import { type HandleKey, handleOf } from './handle.ts'
import { waitReadable } from './poll.ts'
import { needsRoot, scratchFolder } from './scratch.ts'

const skip = fanotifyObstacle('/tmp') ?? false

test('what happens in a directory comes named by the handles its listing gives', { skip }, (t) => {
  const folder = scratchFolder(t)
  const sub = join(folder, 'sub')
  mkdirSync(sub)
  const [folderKey, subKey] = [handleOf(folder), handleOf(sub)]
  using group = new Fanotify({ unlimitedQueue: true })
  group.watchFilesystem(folder)

  writeFileSync(join(folder, 'file'), 'text')
  const fileKey = handleOf(join(folder, 'file'))
  assert.deepEqual(waitReadable([group.fd], 1000), [group.fd])
  const written = eventsOf(group, [folderKey, subKey])
  assert.ok(written.every((event) => event.kind === 'entry' && event.name === 'file' && event.object === fileKey))
  assert.equal(masksOf(written), fanotifyMask.create | fanotifyMask.modify | fanotifyMask.closeWrite)

  renameSync(join(folder, 'file'), join(sub, 'moved'))
  assert.deepEqual(eventsOf(group, [folderKey, subKey]), [
    {
      kind: 'rename',
      mask: fanotifyMask.rename,
      from: { directory: folderKey, name: 'file' },
      to: { directory: subKey, name: 'moved' },
      object: fileKey,
    },
  ])

  chmodSync(join(sub, 'moved'), 0o600)
  unlinkSync(join(sub, 'moved'))
  const ended = eventsOf(group, [folderKey, subKey])
  assert.equal(masksOf(ended) & ~fanotifyMask.closeWrite, fanotifyMask.attributes | fanotifyMask.delete)

  renameSync(sub, join(folder, 'sub2'))
  assert.deepEqual(eventsOf(group, [folderKey, subKey]), [
    {
      kind: 'rename',
      mask: fanotifyMask.rename | fanotifyMask.onDirectory,
      from: { directory: folderKey, name: 'sub' },
      to: { directory: folderKey, name: 'sub2' },
      object: subKey,
    },
  ])
})

test('a limited queue that runs over says so, and an unlimited one loses nothing', { skip }, (t) => {
  const folder = scratchFolder(t)
  const key = handleOf(folder)
  using limited = new Fanotify({ unlimitedQueue: false })
  using unlimited = new Fanotify({ unlimitedQueue: true })
  for (const group of [limited, unlimited]) group.watchFilesystem(folder)
  const count = 17_000
  for (let index = 0; index < count; index++) writeFileSync(join(folder, `${index}`), '')
  const lost = drain(limited)
  assert.ok(lost.some((event) => event.kind === 'overflow'))

  const seen = new Set<string>()
  for (const event of drain(unlimited)) {
    assert.notEqual(event.kind, 'overflow')
    if (event.kind === 'entry' && event.directory === key) seen.add(event.name)
  }
  assert.equal(seen.size, count)
  rmSync(folder, { recursive: true })
})

test('where whole file systems cannot be watched the reason is told', { skip }, () => {
  assert.match(fanotifyObstacle('/proc') ?? '', /^proc /)
  assert.equal(fanotifyObstacle('/tmp'), undefined)
})

test('who is not root is told that root is needed', { skip: needsRoot }, (t) => {
  const door = new URL('./fanotify.ts', import.meta.url).href
  const program = `const { fanotifyObstacle } = await import(${JSON.stringify(door)}); console.log(fanotifyObstacle('/tmp'))`
  const asNobody = { uid: 65534, gid: 65534, cwd: '/', encoding: 'utf8' } as const
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], asNobody)
  if (stdout === '' || stdout === null) return t.skip(`user 65534 cannot run this program here: ${stderr}`)
  assert.equal(stdout, 'watching whole file systems needs root (CAP_SYS_ADMIN)\n')
})

function drain(group: Fanotify): FanotifyEvent[] {
  const events: FanotifyEvent[] = []
  for (let some = group.read(); some.length > 0; some = group.read()) events.push(...some)
  return events
}

/** Without what other programs do on the same file system meanwhile. */
function eventsOf(group: Fanotify, directories: HandleKey[]): FanotifyEvent[] {
  return drain(group).filter(
    (event) =>
      (event.kind === 'entry' && directories.includes(event.directory)) ||
      (event.kind === 'rename' && directories.includes(event.to.directory)),
  )
}

function masksOf(events: FanotifyEvent[]): number {
  return events.reduce((all, event) => all | (event.kind === 'overflow' ? 0 : event.mask), 0)
}
