import { Malformed } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Want } from './negotiation.ts'
import { allocationContext, handshakeFlag, info, isOptionFailure, option, optionReply } from './numbers.ts'
import {
  type BlockTerms,
  decodeContext,
  decodeExportInfo,
  decodeGreeting,
  decodeListed,
  decodeOptionReplyHeader,
  encodeClientFlags,
  encodeContextQuestion,
  encodeExportQuestion,
  encodeOption,
  type ExportTerms,
  greetingBytes,
  optionReplyHeaderBytes,
} from './options.ts'

/** Replies to one option; a server may have that many exports. */
const repliesMax = 65_536

export interface Wish {
  readonly exportName: string
  readonly wantsTls: boolean
  readonly wantsStructured: boolean
  /** Needs structured replies. */
  readonly wantsAllocation: boolean
}

/** What a client and a server have agreed on. */
export interface Chosen extends ExportTerms {
  readonly isStructured: boolean
  /** By which BLOCK_STATUS names the context `base:allocation`; undefined when it is not to be had. */
  readonly allocationId: number | undefined
  readonly blocks: BlockTerms | undefined
}

type Conversation<T> = Generator<Want, T, Buffer>
type Send = (bytes: Buffer) => void

/** The client's part of the handshake, up to the export. What the server has not, goes without saying in what was chosen. */
export function* choose(wish: Wish, send: Send): Conversation<Chosen> {
  yield* greet(wish.wantsTls, send)
  const { exportName } = wish
  const isStructured = wish.wantsStructured && (yield* ask(option.structuredReply, undefined, send)).isDone
  let allocationId: number | undefined
  if (isStructured && wish.wantsAllocation) {
    const question = encodeContextQuestion({ name: exportName, queries: [allocationContext] })
    const { replies } = yield* ask(option.setMetaContext, question, send)
    for (const { type, data } of replies) {
      if (type !== optionReply.metaContext) continue
      const { id, name } = decodeContext(data)
      if (name === allocationContext) allocationId = id
    }
  }
  const { isDone, failure, replies } = yield* ask(
    option.go,
    encodeExportQuestion({ name: exportName, infos: [info.blockSize] }),
    send,
  )
  if (!isDone) throw refusedExport(exportName, failure)
  let terms: ExportTerms | undefined
  let blocks: BlockTerms | undefined
  for (const { type, data } of replies) {
    if (type !== optionReply.info) continue
    const told = decodeExportInfo(data)
    if (told.kind === 'export') terms = { bytes: told.bytes, flags: told.flags }
    if (told.kind === 'blocks') blocks = told
  }
  if (terms === undefined) throw new Malformed('the server does not tell how large the export is')
  return { ...terms, isStructured, allocationId, blocks }
}

/** Which exports there are; nothing is used. */
export function* list(
  wantsTls: boolean,
  send: Send,
): Conversation<readonly { readonly name: string; readonly description: string }[]> {
  yield* greet(wantsTls, send)
  const { isDone, failure, replies } = yield* ask(option.list, undefined, send)
  send(encodeOption(option.abort))
  if (!isDone) throw refusedExport('', failure)
  return replies.filter(({ type }) => type === optionReply.server).map(({ data }) => decodeListed(data))
}

function* greet(wantsTls: boolean, send: Send): Conversation<void> {
  const flags = decodeGreeting(yield greetingBytes)
  send(encodeClientFlags(handshakeFlag.fixedNewstyle | (flags & handshakeFlag.noZeroes)))
  if (!wantsTls) return
  if (!(yield* ask(option.startTls, undefined, send)).isDone)
    throw new TidemarkError('tls-refused', {
      message: 'the NBD server does not speak TLS',
      hint: 'give it a certificate, or connect without TLS where nobody can listen',
    })
  yield 'tls'
}

interface Asked {
  readonly isDone: boolean
  /** Of `optionReply`, when it is not done. */
  readonly failure: number
  readonly replies: readonly { readonly type: number; readonly data: Buffer }[]
}

function* ask(asked: number, data: Buffer | undefined, send: Send): Conversation<Asked> {
  send(encodeOption(asked, data))
  const replies: { type: number; data: Buffer }[] = []
  while (replies.length < repliesMax) {
    const reply = decodeOptionReplyHeader(yield optionReplyHeaderBytes)
    // The next bytes lie in the same memory for a while only.
    const told = reply.bytes === 0 ? Buffer.alloc(0) : Buffer.from(yield reply.bytes)
    if (reply.option !== asked) throw new Malformed(`a reply to option ${reply.option}, which was not asked`)
    if (reply.type === optionReply.ack) return { isDone: true, failure: 0, replies }
    if (isOptionFailure(reply.type)) return { isDone: false, failure: reply.type, replies }
    replies.push({ type: reply.type, data: told })
  }
  throw new Malformed(`more than ${repliesMax} replies to one option`)
}

function refusedExport(name: string, failure: number): TidemarkError {
  if (failure === optionReply.unknown)
    return new TidemarkError('not-found', {
      message: `the NBD server has no export "${name}"`,
      hint: '"nbdinfo --list" tells which it has',
    })
  if (failure === optionReply.tlsRequired)
    return new TidemarkError('tls-refused', {
      message: 'the NBD server wants TLS',
      hint: 'give the certificate of its authority',
    })
  return new TidemarkError('not-allowed', {
    message: `the NBD server refuses the export "${name}" (reply ${failure - 2 ** 31})`,
    hint: 'its log may say why',
  })
}
