import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../base/clock.ts'
import { isOfMachine, post } from './post.ts'

test('no webhook is sent to where a machine tells its own keys', async () => {
  for (const host of [
    '169.254.169.254',
    '0xa9fea9fe',
    '2852039166',
    '[::ffff:a9fe:a9fe]',
    '[fe80::1]',
    '100.100.100.200',
  ]) {
    const request = { url: new URL(`http://${host}:80/latest/meta-data`), headers: {}, body: '{}' }
    await assert.rejects(post(request, systemClock, AbortSignal.timeout(60_000)), { code: 'channel-refused' }, host)
  }
  for (const near of ['127.0.0.1', '::1', '10.1.2.3', '192.168.1.1', 'fd00::1', '100.64.0.1', '8.8.8.8', '', 'x']) {
    assert.equal(isOfMachine(near), false, near)
  }
})
