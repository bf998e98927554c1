import assert from 'node:assert/strict'
import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { deviceNumber, deviceParts, makeNode } from './nodes.ts'
import { needsRoot, scratchFolder } from './scratch.ts'

test('fifos and sockets are made with their permissions', (t) => {
  const folder = scratchFolder(t)
  makeNode(join(folder, 'fifo'), { kind: 'fifo' }, 0o600)
  makeNode(join(folder, 'socket'), { kind: 'socket' }, 0o700)
  assert.ok(lstatSync(join(folder, 'fifo')).isFIFO())
  assert.ok(lstatSync(join(folder, 'socket')).isSocket())
  assert.equal(lstatSync(join(folder, 'fifo')).mode & 0o7777, 0o600)
})

test('devices are made with numbers that stat tells back', { skip: needsRoot }, (t) => {
  const folder = scratchFolder(t)
  for (const [kind, major, minor] of [
    ['character-device', 1, 3],
    ['block-device', 4095, 0xfffff],
    ['character-device', 259, 65537],
  ] as const) {
    const path = join(folder, `${kind}-${major}-${minor}`)
    makeNode(path, { kind, major, minor }, 0o600)
    const stat = lstatSync(path, { bigint: true })
    assert.equal(kind === 'block-device' ? stat.isBlockDevice() : stat.isCharacterDevice(), true)
    assert.deepEqual(deviceParts(stat.rdev), { major, minor })
    assert.equal(stat.rdev, deviceNumber(major, minor))
  }
})

test('an existing path is not replaced', (t) => {
  const path = join(scratchFolder(t), 'fifo')
  makeNode(path, { kind: 'fifo' }, 0o600)
  assert.throws(() => makeNode(path, { kind: 'fifo' }, 0o600), { code: 'EEXIST', syscall: 'mknodat', path })
})

test('a device number falls into the parts it was made of', () => {
  assert.equal(deviceNumber(8, 1), 0x801n)
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xfff }), fc.integer({ min: 0, max: 0xfffff }), (major, minor) => {
      assert.deepEqual(deviceParts(deviceNumber(major, minor)), { major, minor })
    }),
  )
  assert.throws(() => deviceNumber(4096, 0), RangeError)
  assert.throws(() => deviceParts(1n << 32n), RangeError)
})
