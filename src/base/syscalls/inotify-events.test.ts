import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeInotify, inotifyMask } from './inotify-events.ts'
import { holdsForAnyBytes } from '../../../test/support/any-bytes.ts'

// Recorded on Linux 6.18: a written, renamed away; the directory's mode changed; a name that is not UTF-8 made. Then an overflow and a removal by hand.
const recorded = [
  '01000000000100000000000010000000610000000000000000000000000000000100000008000000000000001000000061000000000000000000000000000000',
  '0100000040000000e72a02001000000061000000000000000000000000000000',
  '01000000040000400000000000000000',
  '010000000001000000000000100000006eff0000000000000000000000000000',
  'ffffffff004000000000000000000000',
  '01000000008000000000000000000000',
]
const bytes = Buffer.from(recorded.join(''), 'hex')

test('a recorded read decodes into what was done', () => {
  assert.deepEqual(decodeInotify(bytes), [
    { kind: 'event', watch: 1, mask: inotifyMask.create, cookie: 0, name: 'a' },
    { kind: 'event', watch: 1, mask: inotifyMask.closeWrite, cookie: 0, name: 'a' },
    { kind: 'event', watch: 1, mask: inotifyMask.movedFrom, cookie: 0x22ae7, name: 'a' },
    { kind: 'event', watch: 1, mask: inotifyMask.attributes | inotifyMask.onDirectory, cookie: 0, name: undefined },
    { kind: 'event', watch: 1, mask: inotifyMask.create, cookie: 0, name: 'n\xff' },
    { kind: 'overflow' },
    { kind: 'ignored', watch: 1 },
  ])
})

test('any bytes are events or a clear error, and nothing outside them is read', () => {
  holdsForAnyBytes(decodeInotify, bytes)
})
