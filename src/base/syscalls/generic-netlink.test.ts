import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GenericNetlink } from './generic-netlink.ts'
import { decodeMessages, encodeMessage, nestedAttribute, numberAttribute, textAttribute } from './netlink-messages.ts'

test('a part of the kernel is found by its name and answers, and one that is not there is told', () => {
  using controller = new GenericNetlink('nlctrl')
  const told = controller.ask(3, [textAttribute(2, 'nlctrl')])
  assert.equal(told.find(({ type }) => type === 2)?.data.toString(), 'nlctrl\0')
  assert.throws(() => controller.ask(3, [textAttribute(2, 'no-such-part')]), { code: 'ENOENT' })
  assert.throws(() => new GenericNetlink('no-such-part'), { code: 'ENOENT' })
})

test('a question is laid out as the kernel reads it', () => {
  const attributes = [
    numberAttribute(1, 7, 4),
    numberAttribute(2, 2 ** 40, 8),
    textAttribute(10, 'ab'),
    nestedAttribute(7, [nestedAttribute(1, [numberAttribute(1, 3, 4)])]),
  ]
  const encoded = encodeMessage({ family: 0x1c, command: 1, sequence: 5, attributes })
  assert.equal(
    encoded
      .toString('hex')
      .replace(/(.{8})/g, '$1 ')
      .trim(),
    [
      '40000000 1c000500 05000000 00000000 01010000',
      '08000100 07000000 0c000200 00000000 00010000',
      '07000a00 61620000 10000780 0c000180 08000100 03000000',
    ].join(' '),
  )
})

test('several answers of one read are told apart', () => {
  const one = encodeMessage({ family: 0x1c, command: 5, sequence: 9, attributes: [textAttribute(3, 'a')] })
  const done = Buffer.alloc(36)
  done.writeUInt32LE(36, 0)
  done.writeUInt16LE(2, 4)
  done.writeUInt32LE(9, 8)
  done.writeInt32LE(-16, 16)
  const answers = decodeMessages(Buffer.concat([one, done]))
  assert.deepEqual(
    answers.map(({ type, sequence, error }) => ({ type, sequence, error })),
    [
      { type: 0x1c, sequence: 9, error: 0 },
      { type: 2, sequence: 9, error: -16 },
    ],
  )
  assert.deepEqual(answers[0]?.attributes, [textAttribute(3, 'a')])
})
