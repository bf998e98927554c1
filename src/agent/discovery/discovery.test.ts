import assert from 'node:assert/strict'
import { linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../base/clock.ts'
import { largeDirectories } from './directories.ts'
import { readMounts } from './mounts.ts'

const never = new AbortController().signal
const generous = { entriesMax: 1_000_000, msMax: 600_000 }

test('file systems that hold what somebody made are told once, in their names', () => {
  const text = [
    '22 1 0:21 / /proc rw,nosuid - proc proc rw',
    '23 1 8:1 / / rw - ext4 /dev/sda1 rw',
    '24 23 8:1 /srv /mnt/bind rw - ext4 /dev/sda1 rw',
    `25 23 8:2 / ${import.meta.dirname.replaceAll(' ', '\\040')} rw shared:1 - xfs /dev/sdb1 rw`,
    '26 23 0:40 / /nowhere/at\\040all rw - nfs4 server:/export rw',
    '27 23 0:41 / /run rw - tmpfs tmpfs rw',
    '',
  ].join('\n')
  assert.deepEqual(
    readMounts(text).map(({ path, type, device }) => [path, type, device]),
    [
      ['/', 'ext4', '/dev/sda1'],
      [import.meta.dirname, 'xfs', '/dev/sdb1'],
    ],
  )
})

test('large directories are told with what is below them, each byte once, and a walk says where it stopped', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'tidemark-discover-'))
  t.after(() => rmSync(root, { recursive: true }))
  for (const name of ['much/below/far', 'little']) mkdirSync(join(root, name), { recursive: true })
  writeFileSync(join(root, 'much/below/far/file'), Buffer.alloc(400_000, 1))
  linkSync(join(root, 'much/below/far/file'), join(root, 'much/again'))
  writeFileSync(join(root, 'little/file'), Buffer.alloc(10_000, 1))
  const { directories, stopped } = await largeDirectories([root], generous, systemClock, never)
  assert.equal(stopped, undefined)
  const top = directories.find(({ path }) => root.startsWith(path))
  assert.ok(top)
  assert.equal(top.files, 2, 'the second name of a file counts nothing')
  assert.ok(top.bytes >= 410_000 && top.bytes < 600_000, String(top.bytes))
  const early = await largeDirectories([root], { ...generous, entriesMax: 1 }, systemClock, never)
  assert.equal(early.stopped, 'after 1 entries')
})
