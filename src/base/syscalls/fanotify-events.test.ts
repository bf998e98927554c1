import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeFanotify, fanotifyMask } from './fanotify-events.ts'
import type { HandleKey } from './handle.ts'
import { Malformed } from '../bytes.ts'
import { holdsForAnyBytes } from '../../../test/support/any-bytes.ts'

// Recorded on Linux 6.18, ext4, in the order the events came.
const recorded = {
  written:
    '54000000030018000a01000000000000ffffffff5c1e000002002000fc998ae1a23ee5fa0800000001000000bc2f2500f583d9876100000001001c00fc998ae1a23ee5fa0800000001000000bd2f2500a858fa43',
  directoryMade:
    '54000000030018000001004000000000ffffffff5c1e000002002000fc998ae1a23ee5fa0800000001000000bc2f2500f583d9877375620001001c00fc998ae1a23ee5fa0800000001000000be2f250089fd6752',
  renamed:
    '74000000030018000000001000000000ffffffff5c1e00000a002000fc998ae1a23ee5fa0800000001000000bc2f2500f583d987610000000c002000fc998ae1a23ee5fa0800000001000000be2f250089fd67526200000001001c00fc998ae1a23ee5fa0800000001000000bd2f2500a858fa43',
  directoryChanged:
    '38000000030018000400004000000000ffffffff5c1e000002002000fc998ae1a23ee5fa0800000001000000bc2f2500f583d9872e000000',
  madeAndDeleted:
    '54000000030018000e03000000000000ffffffff5c1e000002002000fc998ae1a23ee5fa0800000001000000bc2f2500f583d9876eff000001001c00fc998ae1a23ee5fa0800000001000000bf2f2500ca7ba7e5',
  changedWithoutName:
    '34000000030018000400000000000000ffffffff5c1e000001001c00fc998ae1a23ee5fa0800000001000000bf2f2500ca7ba7e5',
}
const overflow = '18000000030018000040000000000000ffffffff00000000'

const bytes = (...hex: string[]): Buffer => Buffer.from(hex.join(''), 'hex')
const key = (handle: string): HandleKey =>
  Buffer.from(`fc998ae1a23ee5fa0800000001000000${handle}`, 'hex').toString('latin1') as HandleKey
const folder = key('bc2f2500f583d987')
const file = key('bd2f2500a858fa43')
const sub = key('be2f250089fd6752')
const unlinked = key('bf2f2500ca7ba7e5')
const { create, modify, closeWrite, attributes, onDirectory, rename } = fanotifyMask

test('a recorded read decodes into what was done', () => {
  assert.deepEqual(decodeFanotify(bytes(...Object.values(recorded), overflow)), [
    { kind: 'entry', mask: create | modify | closeWrite, directory: folder, name: 'a', object: file },
    { kind: 'entry', mask: create | onDirectory, directory: folder, name: 'sub', object: sub },
    {
      kind: 'rename',
      mask: rename,
      from: { directory: folder, name: 'a' },
      to: { directory: sub, name: 'b' },
      object: file,
    },
    { kind: 'entry', mask: attributes | onDirectory, directory: folder, name: '.', object: undefined },
    {
      kind: 'entry',
      mask: create | modify | attributes | closeWrite | fanotifyMask.delete,
      directory: folder,
      name: 'n\xff',
      object: unlinked,
    },
    { kind: 'object', mask: attributes, object: unlinked },
    { kind: 'overflow' },
  ])
})

test('a rename that tells one end only is an event of that end', () => {
  const renamed = bytes(recorded.renamed)
  renamed[24] = 99 // the record of the old place gets a type nobody knows
  assert.deepEqual(decodeFanotify(renamed), [{ kind: 'entry', mask: rename, directory: sub, name: 'b', object: file }])
})

test('records of unknown type are passed over', () => {
  const unknown = bytes('63000800ffffffff')
  const extended = Buffer.concat([bytes(recorded.changedWithoutName), unknown])
  extended.writeUInt32LE(extended.length, 0)
  assert.deepEqual(decodeFanotify(extended), [{ kind: 'object', mask: attributes, object: unlinked }])
})

test('nothing decodes into nothing', () => {
  assert.deepEqual(decodeFanotify(Buffer.alloc(0)), [])
})

test('every cut of an event is an error', () => {
  for (const event of Object.values(recorded)) {
    const whole = bytes(event)
    for (let length = 1; length < whole.length; length++) {
      assert.throws(() => decodeFanotify(whole.subarray(0, length)), Malformed)
    }
  }
})

test('any bytes are events or a clear error, and nothing outside them is read', () => {
  holdsForAnyBytes(decodeFanotify, bytes(...Object.values(recorded)))
})
