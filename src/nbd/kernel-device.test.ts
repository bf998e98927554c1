import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { attachDevice, detachDevice, takeDevicesBack, whatDeviceLacks } from './kernel-device.ts'

/** With nbd in the kernel, test/recovery/volume-kernel.test.ts has the rest. */
const hasNbd = existsSync('/sys/module/nbd') || existsSync('/sys/block/nbd0')

test(
  'without nbd in the kernel there is no device, and that is told with another way',
  { skip: hasNbd && 'this kernel has nbd' },
  async () => {
    assert.match(whatDeviceLacks('/dev/nbd0') ?? '', /no nbd loaded/)
    const attachment = {
      device: '/dev/nbd0',
      path: '/nowhere',
      exportName: 'disk',
      owner: 'nobody',
      otherwise: 'wait',
    } as const
    const refused = { code: 'unusable-platform', hint: /--ways/ }
    await assert.rejects(attachDevice(attachment), refused)
    assert.throws(() => detachDevice('/dev/nbd0'), refused)
  },
)

test('a server takes no device that is not of its volume', async () => {
  const request = { path: '/nowhere', exportName: 'disk', owner: `nobody ${process.pid}` }
  assert.deepEqual(await takeDevicesBack(request, new AbortController().signal), [])
})
