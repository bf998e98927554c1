import assert from 'node:assert/strict'
import { test } from 'node:test'
import { holdsForAnyBytes } from '../../test/support/any-bytes.ts'
import { memoryExport } from '../../test/support/memory-export.ts'
import { Malformed } from '../base/bytes.ts'
import { negotiate, type Offer } from './negotiation.ts'
import { allocationContext, handshakeFlag, info, option, optionReply, transmissionFlag } from './numbers.ts'
import {
  decodeContext,
  decodeExportInfo,
  decodeListed,
  decodeOptionReplyHeader,
  encodeClientFlags,
  encodeContextQuestion,
  encodeExportQuestion,
  encodeOption,
  exportNameReplyBytes,
  exportNameZeroBytes,
  greetingBytes,
  optionReplyHeaderBytes,
} from './options.ts'
import type { Agreed } from './requests.ts'

const small = memoryExport({ name: 'small', bytes: 4096 })
const large = memoryExport({ name: 'large', blockBytes: 512, hasFastZero: true })
const past = memoryExport({ name: 'past', isReadOnly: true })
const open: Offer = { exports: [small, large, past], needsTls: false }
const hello = encodeClientFlags(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes)

interface Talk {
  /** What the server said after its greeting. */
  readonly said: Buffer
  readonly end: Agreed | undefined | 'waits'
  /** After how many of the client's bytes TLS began. */
  readonly tlsAt: number | undefined
}

/** A handshake with a client that says all of it at once. */
function talk(offer: Offer, ...parts: readonly Buffer[]): Talk {
  const said: Buffer[] = []
  const given = Buffer.concat(parts)
  const negotiation = negotiate(offer, (bytes) => said.push(bytes))
  const told = (end: Talk['end']): Talk => ({ said: Buffer.concat(said).subarray(greetingBytes), end, tlsAt })
  let tlsAt: number | undefined
  let at = 0
  let next = negotiation.next()
  while (next.done !== true) {
    if (next.value === 'tls') {
      tlsAt = at
      next = negotiation.next()
      continue
    }
    const end = at + next.value
    if (end > given.length) return told('waits')
    next = negotiation.next(given.subarray(at, end))
    at = end
  }
  return told(next.value)
}

/** The replies to options, without what is not one. */
function replies(said: Buffer): { readonly option: number; readonly type: number; readonly data: Buffer }[] {
  const found = []
  for (let at = 0; at < said.length;) {
    const header = decodeOptionReplyHeader(said.subarray(at, at + optionReplyHeaderBytes))
    at += optionReplyHeaderBytes
    found.push({ option: header.option, type: header.type, data: said.subarray(at, at + header.bytes) })
    at += header.bytes
  }
  return found
}

const types = (said: Buffer): number[] => replies(said).map(({ type }) => type)
const go = (name: string, infos: number[] = []): Buffer =>
  encodeOption(option.go, encodeExportQuestion({ name, infos }))
const contexts = (which: number, name: string, ...queries: string[]): Buffer =>
  encodeOption(which, encodeContextQuestion({ name, queries }))
const structured = encodeOption(option.structuredReply)

test('an export is chosen by its name, and its size, flags and block sizes are told', () => {
  const { said, end } = talk(open, hello, go('large', [info.name, info.description, info.blockSize, 77]))
  assert.deepEqual(
    replies(said)
      .slice(0, -1)
      .map(({ data }) => decodeExportInfo(data)),
    [
      {
        kind: 'export',
        bytes: large.bytes,
        flags:
          transmissionFlag.hasFlags |
          transmissionFlag.flush |
          transmissionFlag.forced |
          transmissionFlag.trim |
          transmissionFlag.zero |
          transmissionFlag.multiConnection |
          transmissionFlag.fastZero,
      },
      { kind: 'name', text: 'large' },
      { kind: 'description', text: 'in memory' },
      { kind: 'blocks', bytesMin: 512, bytesPreferred: 4096, payloadBytesMax: 32 * 1024 * 1024 },
    ],
  )
  assert.equal(types(said).at(-1), optionReply.ack)
  assert.deepEqual(end, { export: large, isStructured: false, hasAllocation: false })
})

test('a read-only export says so, and that nothing can be changed', () => {
  const { said } = talk(open, hello, go('past'))
  const told = decodeExportInfo(replies(said)[0]?.data ?? Buffer.alloc(0))
  assert.ok(told.kind === 'export')
  assert.equal(
    told.flags,
    transmissionFlag.hasFlags |
      transmissionFlag.readOnly |
      transmissionFlag.flush |
      transmissionFlag.forced |
      transmissionFlag.multiConnection,
  )
})

test('a name that is unknown is refused, and the client may ask on', () => {
  const { said, end } = talk(open, hello, go('nothing'), go('small'))
  assert.equal(types(said)[0], optionReply.unknown)
  assert.ok(typeof end === 'object' && end.export === small)
})

test('the empty name means the only export there is, and none where there are several', () => {
  const alone = talk({ exports: [past], needsTls: false }, hello, go(''))
  assert.ok(typeof alone.end === 'object' && alone.end.export === past)
  assert.deepEqual(types(talk(open, hello, go('')).said), [optionReply.unknown])
})

test('INFO tells of an export without choosing it', () => {
  const { said, end } = talk(open, hello, encodeOption(option.info, encodeExportQuestion({ name: 'small', infos: [] })))
  assert.deepEqual(types(said), [optionReply.info, optionReply.info, optionReply.ack])
  assert.equal(end, 'waits')
})

test('all exports are listed', () => {
  const { said } = talk(open, hello, encodeOption(option.list))
  assert.deepEqual(
    replies(said)
      .slice(0, -1)
      .map(({ data }) => decodeListed(data)),
    ['small', 'large', 'past'].map((name) => ({ name, description: 'in memory' })),
  )
})

test('an old client chooses by EXPORT_NAME, and gets its zeros unless it wants none', () => {
  const choice = encodeOption(option.exportName, Buffer.from('small'))
  const without = talk(open, hello, choice)
  assert.equal(without.said.length, exportNameReplyBytes)
  assert.equal(without.said.readBigUInt64BE(0), 4096n)
  const oldest = talk(open, encodeClientFlags(0), choice)
  assert.equal(oldest.said.length, exportNameReplyBytes + exportNameZeroBytes)
  assert.ok(typeof oldest.end === 'object' && oldest.end.export === small)
  assert.throws(() => talk(open, hello, encodeOption(option.exportName, Buffer.from('nothing'))), Malformed)
})

test('a client that gives up is told goodbye', () => {
  const { said, end } = talk(open, hello, encodeOption(option.abort), go('small'))
  assert.deepEqual(types(said), [optionReply.ack])
  assert.equal(end, undefined)
})

test('structured replies bring the flag of unfragmented reads with them', () => {
  const { said, end } = talk(open, hello, structured, go('past'))
  const told = decodeExportInfo(replies(said)[1]?.data ?? Buffer.alloc(0))
  assert.ok(told.kind === 'export' && (told.flags & transmissionFlag.dontFragment) !== 0)
  assert.ok(typeof end === 'object' && end.isStructured)
})

test('what is allocated is told after it was asked for by name, for that export alone', () => {
  const chosen = talk(open, hello, structured, contexts(option.setMetaContext, 'small', allocationContext), go('small'))
  assert.ok(typeof chosen.end === 'object' && chosen.end.hasAllocation)
  assert.deepEqual(decodeContext(replies(chosen.said)[1]?.data ?? Buffer.alloc(0)), { id: 1, name: allocationContext })
  const other = talk(open, hello, structured, contexts(option.setMetaContext, 'small', allocationContext), go('large'))
  assert.ok(typeof other.end === 'object' && !other.end.hasAllocation)
  const changed = talk(
    open,
    hello,
    structured,
    contexts(option.setMetaContext, 'small', allocationContext),
    contexts(option.setMetaContext, 'small', 'qemu:dirty-bitmap:a'),
    go('small'),
  )
  assert.ok(typeof changed.end === 'object' && !changed.end.hasAllocation)
})

test('contexts are listed, and need structured replies', () => {
  for (const queries of [[], ['base:'], [allocationContext]])
    assert.deepEqual(types(talk(open, hello, structured, contexts(option.listMetaContext, 'small', ...queries)).said), [
      optionReply.ack,
      optionReply.metaContext,
      optionReply.ack,
    ])
  assert.deepEqual(types(talk(open, hello, structured, contexts(option.listMetaContext, 'small', 'x:')).said), [
    optionReply.ack,
    optionReply.ack,
  ])
  assert.deepEqual(types(talk(open, hello, contexts(option.listMetaContext, 'small')).said), [optionReply.invalid])
  assert.deepEqual(types(talk(open, hello, structured, contexts(option.setMetaContext, 'nothing')).said), [
    optionReply.ack,
    optionReply.unknown,
  ])
})

test('where TLS is wanted, nothing is told before it, and what was agreed before it does not count after it', () => {
  const secret: Offer = { exports: [small], needsTls: true }
  const before = [structured, encodeOption(option.list), go('small')]
  const startTls = encodeOption(option.startTls)
  const { said, end, tlsAt } = talk(secret, hello, ...before, startTls, startTls, go('small'))
  assert.deepEqual(types(said), [
    optionReply.tlsRequired,
    optionReply.tlsRequired,
    optionReply.tlsRequired,
    optionReply.ack,
    optionReply.invalid,
    optionReply.info,
    optionReply.info,
    optionReply.ack,
  ])
  assert.equal(tlsAt, hello.length + Buffer.concat(before).length + startTls.length)
  assert.ok(typeof end === 'object' && !end.isStructured)
  assert.throws(() => talk(secret, hello, encodeOption(option.exportName, Buffer.from('small'))), Malformed)
  assert.deepEqual(types(talk(open, hello, startTls).said), [optionReply.policy])
})

test('options that are not known or not of their form are refused, and the client may go on', () => {
  const { said, end } = talk(
    open,
    hello,
    encodeOption(11),
    encodeOption(99, Buffer.alloc(60_000)),
    encodeOption(option.go, Buffer.from([0, 0, 0, 9, 1])),
    encodeOption(option.list, Buffer.from('x')),
    encodeOption(option.structuredReply, Buffer.from('x')),
    go('small'),
  )
  const { unsupported, invalid, info: told, ack } = optionReply
  assert.deepEqual(types(said), [unsupported, unsupported, invalid, invalid, invalid, told, told, ack])
  assert.ok(typeof end === 'object' && end.export === small)
})

test('an option that would need much memory ends the connection, and so does one that never chooses', () => {
  const header = encodeOption(option.list)
  header.writeUInt32BE(64 * 1024 + 1, 12)
  assert.throws(() => talk(open, hello, header), Malformed)
  const often = Array.from({ length: 1024 }, () => encodeOption(option.list))
  assert.throws(() => talk(open, hello, ...often), Malformed)
})

test('any bytes are refused or waited out', () => {
  const whole = Buffer.concat([
    hello,
    structured,
    contexts(option.setMetaContext, 'small', allocationContext),
    encodeOption(option.info, encodeExportQuestion({ name: 'past', infos: [0, 1, 2, 3] })),
    go('small', [info.blockSize]),
  ])
  holdsForAnyBytes((bytes) => {
    const { said, end } = talk(open, bytes)
    return { said, end: typeof end === 'object' ? end.export.name : end }
  }, whole)
})
