import { Malformed } from '../base/bytes.ts'
import type { Export } from './export.ts'
import {
  allocationContext,
  handshakeFlag,
  info,
  option,
  optionReply,
  payloadBytesMax,
  transmissionFlag,
} from './numbers.ts'
import {
  clientFlagsBytes,
  decodeClientFlags,
  decodeContextQuestion,
  decodeExportQuestion,
  decodeOptionHeader,
  decodeText,
  encodeContext,
  encodeExportInfo,
  encodeExportNameReply,
  encodeGreeting,
  encodeListed,
  encodeOptionReply,
  type ExportTerms,
  optionHeaderBytes,
} from './options.ts'
import type { Agreed } from './requests.ts'

/** What a client may ask before it has chosen; nobody needs more. */
const optionsMax = 1024
const bytesPreferred = 4096
/** By which BLOCK_STATUS names the one context there is. */
export const allocationId = 1

/** A number of bytes that are to be handed in next, or that TLS begins here. */
export type Want = number | 'tls'

export interface Offer {
  readonly exports: readonly Export[]
  /** Nothing is told and served before TLS. */
  readonly needsTls: boolean
}

/**
 * The server's part of the handshake, up to what is served; undefined when the client wants nothing. Bytes that are not of the
 * protocol are `Malformed`.
 */
export function* negotiate(
  { exports, needsTls }: Offer,
  send: (bytes: Buffer) => void,
): Generator<Want, Agreed | undefined, Buffer> {
  send(encodeGreeting())
  const flags = decodeClientFlags(yield clientFlagsBytes)
  let isSecure = !needsTls
  let hasTls = false
  let isStructured = false
  /** The export for which the context was chosen. */
  let allocationOf: string | undefined

  for (let count = 0; count < optionsMax; count++) {
    const { option: asked, bytes } = decodeOptionHeader(yield optionHeaderBytes)
    const data = bytes === 0 ? Buffer.alloc(0) : yield bytes
    const reply = (type: number, told?: Buffer): void => send(encodeOptionReply(asked, type, told))
    const agreed = (found: Export, name: string): Agreed => ({
      export: found,
      isStructured,
      hasAllocation: allocationOf === name,
    })

    if (asked === option.abort) {
      reply(optionReply.ack)
      return undefined
    }
    if (asked === option.startTls) {
      if (!needsTls) reply(optionReply.policy)
      else if (hasTls || data.length > 0) reply(optionReply.invalid)
      else {
        reply(optionReply.ack)
        yield 'tls'
        hasTls = isSecure = true
        // What was said in the clear may have been said by somebody else.
        isStructured = false
        allocationOf = undefined
      }
      continue
    }
    if (!isSecure) {
      // This option has no way to be refused.
      if (asked === option.exportName) throw new Malformed('the client wants no TLS')
      reply(optionReply.tlsRequired)
      continue
    }

    switch (asked) {
      case option.exportName: {
        const name = decodeText(data)
        const found = findExport(exports, name)
        if (found === undefined) throw new Malformed(`there is no export "${name}"`)
        send(encodeExportNameReply(termsOf(found, isStructured), (flags & handshakeFlag.noZeroes) === 0))
        return agreed(found, name)
      }
      case option.list:
        if (data.length > 0) {
          reply(optionReply.invalid)
          break
        }
        for (const one of exports) reply(optionReply.server, encodeListed(one))
        reply(optionReply.ack)
        break
      case option.info:
      case option.go: {
        const question = readable(decodeExportQuestion, data)
        if (question === undefined) {
          reply(optionReply.invalid)
          break
        }
        const found = findExport(exports, question.name)
        if (found === undefined) {
          reply(optionReply.unknown)
          break
        }
        for (const told of tellExport(found, question.infos, isStructured)) reply(optionReply.info, told)
        reply(optionReply.ack)
        if (asked === option.go) return agreed(found, question.name)
        break
      }
      case option.structuredReply:
        if (data.length > 0) reply(optionReply.invalid)
        else {
          isStructured = true
          reply(optionReply.ack)
        }
        break
      case option.listMetaContext:
      case option.setMetaContext: {
        const isSet = asked === option.setMetaContext
        const question = isStructured ? readable(decodeContextQuestion, data) : undefined
        if (isSet) allocationOf = undefined
        if (question === undefined) {
          reply(optionReply.invalid)
          break
        }
        if (findExport(exports, question.name) === undefined) {
          reply(optionReply.unknown)
          break
        }
        const isAll = !isSet && question.queries.length === 0
        if (isAll || question.queries.some((query) => query === allocationContext || (!isSet && query === 'base:'))) {
          reply(optionReply.metaContext, encodeContext(isSet ? allocationId : 0, allocationContext))
          if (isSet) allocationOf = question.name
        }
        reply(optionReply.ack)
        break
      }
      default:
        reply(optionReply.unsupported)
    }
  }
  throw new Malformed(`a client asked ${optionsMax} times and chose nothing`)
}

/** The empty name means the only export there is. */
const findExport = (exports: readonly Export[], name: string): Export | undefined =>
  exports.find((one) => one.name === name) ?? (name === '' && exports.length === 1 ? exports[0] : undefined)

function tellExport(found: Export, infos: readonly number[], isStructured: boolean): Buffer[] {
  const told = [encodeExportInfo({ kind: 'export', ...termsOf(found, isStructured) })]
  if (infos.includes(info.name)) told.push(encodeExportInfo({ kind: 'name', text: found.name }))
  if (infos.includes(info.description)) told.push(encodeExportInfo({ kind: 'description', text: found.description }))
  const bytesMin = found.blockBytes ?? 1
  told.push(
    encodeExportInfo({
      kind: 'blocks',
      bytesMin,
      bytesPreferred: Math.max(bytesMin, bytesPreferred),
      payloadBytesMax,
    }),
  )
  return told
}

const termsOf = ({ bytes, isReadOnly, hasFastZero }: Export, isStructured: boolean): ExportTerms => ({
  bytes,
  flags:
    transmissionFlag.hasFlags |
    transmissionFlag.flush |
    transmissionFlag.forced |
    transmissionFlag.multiConnection |
    (isStructured ? transmissionFlag.dontFragment : 0) |
    (isReadOnly
      ? transmissionFlag.readOnly
      : transmissionFlag.trim | transmissionFlag.zero | (hasFastZero === true ? transmissionFlag.fastZero : 0)),
})

/** An option whose data are not of its form is refused, and the client may go on. */
function readable<T>(decode: (bytes: Uint8Array) => T, data: Uint8Array): T | undefined {
  try {
    return decode(data)
  } catch (error) {
    if (error instanceof Malformed) return undefined
    throw error
  }
}
