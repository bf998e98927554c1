import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isLimited, parseControlGroup, parseMount } from './control-group.ts'

test('the group that counts memory is that of version 1 where there is one', () => {
  const both = '4:memory:/system.slice/mssql.service\n1:cpu,cpuacct:/\n0::/init.scope\n'
  assert.deepEqual(parseControlGroup(both), { version: 1, path: '/system.slice/mssql.service' })
  assert.deepEqual(parseControlGroup('0::/user.slice\n'), { version: 2, path: '/user.slice' })
  assert.equal(parseControlGroup(''), undefined)
})

test('the mount of a hierarchy is found by its kind', () => {
  const mounts = [
    '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory',
    '36 31 0:33 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate',
  ].join('\n')
  assert.equal(parseMount(mounts, 1), '/sys/fs/cgroup/memory')
  assert.equal(parseMount(mounts, 2), '/sys/fs/cgroup/unified')
  assert.equal(parseMount('', 2), undefined)
})

test('a limit of a group around it limits a group too', (t) => {
  const mount = mkdtempSync(join(tmpdir(), 'tidemark-groups-'))
  t.after(() => rmSync(mount, { recursive: true }))
  mkdirSync(join(mount, 'outer/inner'), { recursive: true })
  writeFileSync(join(mount, 'outer/inner/memory.max'), 'max\n')
  const group = { version: 2, path: '/outer/inner' } as const
  assert.equal(isLimited(group, mount), false)
  writeFileSync(join(mount, 'outer/memory.max'), '419430400\n')
  assert.equal(isLimited(group, mount), true)
  writeFileSync(join(mount, 'memory.limit_in_bytes'), '9223372036854771712\n')
  assert.equal(isLimited({ version: 1, path: '/' }, mount), false)
})
