import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import {
  greetingMagic,
  handshakeFlag,
  info,
  optionBytesMax,
  optionMagic,
  optionReplyMagic,
  textBytesMax,
} from './numbers.ts'

/**
 * The handshake, fixed newstyle, all numbers big-endian:
 *
 *   server   NBDMAGIC IHAVEOPT  u16 flags
 *   client   u32 flags
 *   client   IHAVEOPT  u32 option  u32 length  data        again and again, until GO, EXPORT_NAME or ABORT
 *   server   u64 magic  u32 option  u32 type  u32 length  data      one or several for each option
 *
 * Who decodes knows how many bytes a thing has; what does not fill them exactly is `Malformed`.
 */
export const greetingBytes = 18
export const clientFlagsBytes = 4
export const optionHeaderBytes = 16
export const optionReplyHeaderBytes = 20
/** Of the answer to EXPORT_NAME, without and with the zeros that old clients want. */
export const exportNameReplyBytes = 10
export const exportNameZeroBytes = 124

const infosMax = 64
const queriesMax = 64

/** What a client learns of an export. */
export interface ExportTerms {
  readonly bytes: number
  /** Of `transmissionFlag`. */
  readonly flags: number
}

export interface BlockTerms {
  readonly bytesMin: number
  readonly bytesPreferred: number
  readonly payloadBytesMax: number
}

export const encodeGreeting = (): Buffer =>
  new ByteWriter(greetingBytes)
    .raw(greetingMagic)
    .raw(optionMagic)
    .u16(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes)
    .finish()

/** The flags of a server. One of before options were invented is refused. */
export function decodeGreeting(bytes: Uint8Array): number {
  const reader = new ByteReader(bytes)
  expectMagic(reader, greetingMagic, 'an NBD server')
  expectMagic(reader, optionMagic, 'an NBD server of the newstyle handshake')
  const flags = reader.u16()
  reader.end()
  if ((flags & handshakeFlag.fixedNewstyle) === 0) throw new Malformed('the server knows no fixed newstyle handshake')
  return flags
}

export const encodeClientFlags = (flags: number): Buffer => new ByteWriter(clientFlagsBytes).u32(flags).finish()

export function decodeClientFlags(bytes: Uint8Array): number {
  const reader = new ByteReader(bytes)
  const flags = reader.u32()
  reader.end()
  if ((flags & ~(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes)) !== 0)
    throw new Malformed(`the client has flags that are not known: ${flags}`)
  return flags
}

export const encodeOption = (option: number, data: Uint8Array = Buffer.alloc(0)): Buffer =>
  new ByteWriter(optionHeaderBytes + data.length).raw(optionMagic).u32(option).u32(data.length).raw(data).finish()

export function decodeOptionHeader(bytes: Uint8Array): { readonly option: number; readonly bytes: number } {
  const reader = new ByteReader(bytes)
  expectMagic(reader, optionMagic, 'an option')
  const header = { option: reader.u32(), bytes: bounded(reader.u32()) }
  reader.end()
  return header
}

export const encodeOptionReply = (option: number, type: number, data: Uint8Array = Buffer.alloc(0)): Buffer =>
  new ByteWriter(optionReplyHeaderBytes + data.length)
    .raw(optionReplyMagic)
    .u32(option)
    .u32(type)
    .u32(data.length)
    .raw(data)
    .finish()

export function decodeOptionReplyHeader(bytes: Uint8Array): {
  readonly option: number
  readonly type: number
  readonly bytes: number
} {
  const reader = new ByteReader(bytes)
  expectMagic(reader, optionReplyMagic, 'a reply to an option')
  const header = { option: reader.u32(), type: reader.u32(), bytes: bounded(reader.u32()) }
  reader.end()
  return header
}

/** INFO and GO: an export, and what shall be told of it. */
export interface ExportQuestion {
  readonly name: string
  /** Of `info`. */
  readonly infos: readonly number[]
}

export function encodeExportQuestion({ name, infos }: ExportQuestion): Buffer {
  const writer = text32(new ByteWriter(), name).u16(infos.length)
  for (const one of infos) writer.u16(one)
  return writer.finish()
}

export function decodeExportQuestion(bytes: Uint8Array): ExportQuestion {
  const reader = new ByteReader(bytes)
  const name = readText32(reader)
  const count = reader.u16()
  if (count > infosMax) throw new Malformed(`${count} kinds of information are asked for`)
  const infos = Array.from({ length: count }, () => reader.u16())
  reader.end()
  return { name, infos }
}

/** LIST_META_CONTEXT and SET_META_CONTEXT. */
export interface ContextQuestion {
  readonly name: string
  readonly queries: readonly string[]
}

export function encodeContextQuestion({ name, queries }: ContextQuestion): Buffer {
  const writer = text32(new ByteWriter(), name).u32(queries.length)
  for (const query of queries) text32(writer, query)
  return writer.finish()
}

export function decodeContextQuestion(bytes: Uint8Array): ContextQuestion {
  const reader = new ByteReader(bytes)
  const name = readText32(reader)
  const count = reader.u32()
  if (count > queriesMax) throw new Malformed(`${count} contexts are asked for`)
  const queries = Array.from({ length: count }, () => readText32(reader))
  reader.end()
  return { name, queries }
}

export const encodeContext = (id: number, name: string): Buffer =>
  new ByteWriter().u32(id).raw(Buffer.from(name, 'utf8')).finish()

export function decodeContext(bytes: Uint8Array): { readonly id: number; readonly name: string } {
  const reader = new ByteReader(bytes)
  return { id: reader.u32(), name: readRest(reader) }
}

/** One of the exports that LIST tells of. */
export const encodeListed = ({ name, description }: { readonly name: string; readonly description: string }): Buffer =>
  text32(new ByteWriter(), name).raw(Buffer.from(description, 'utf8')).finish()

export function decodeListed(bytes: Uint8Array): { readonly name: string; readonly description: string } {
  const reader = new ByteReader(bytes)
  return { name: readText32(reader), description: readRest(reader) }
}

/** What is told of an export, in a reply of type INFO. */
export type ExportInfo =
  | ({ readonly kind: 'export' } & ExportTerms)
  | ({ readonly kind: 'blocks' } & BlockTerms)
  | { readonly kind: 'name' | 'description'; readonly text: string }
  | { readonly kind: 'other' }

export function encodeExportInfo(told: Exclude<ExportInfo, { readonly kind: 'other' }>): Buffer {
  const writer = new ByteWriter()
  switch (told.kind) {
    case 'export':
      return writer.u16(info.export).u64(told.bytes).u16(told.flags).finish()
    case 'blocks':
      return writer.u16(info.blockSize).u32(told.bytesMin).u32(told.bytesPreferred).u32(told.payloadBytesMax).finish()
    case 'name':
    case 'description':
      return writer.u16(info[told.kind]).raw(Buffer.from(told.text, 'utf8')).finish()
  }
}

/** Information that is not known is to be passed over. */
export function decodeExportInfo(bytes: Uint8Array): ExportInfo {
  const reader = new ByteReader(bytes)
  const type = reader.u16()
  if (type === info.export) return whole(reader, { kind: 'export', bytes: reader.u64(), flags: reader.u16() })
  if (type === info.blockSize)
    return whole(reader, {
      kind: 'blocks',
      bytesMin: reader.u32(),
      bytesPreferred: reader.u32(),
      payloadBytesMax: reader.u32(),
    })
  if (type === info.name) return { kind: 'name', text: readRest(reader) }
  if (type === info.description) return { kind: 'description', text: readRest(reader) }
  return { kind: 'other' }
}

/** The answer to EXPORT_NAME: transmission begins at once. */
export const encodeExportNameReply = ({ bytes, flags }: ExportTerms, hasZeroes: boolean): Buffer =>
  new ByteWriter()
    .u64(bytes)
    .u16(flags)
    .raw(Buffer.alloc(hasZeroes ? exportNameZeroBytes : 0))
    .finish()

/** Text that fills what it is given, as EXPORT_NAME does. */
export const decodeText = (bytes: Uint8Array): string => readRest(new ByteReader(bytes))

function whole<T>(reader: ByteReader, value: T): T {
  reader.end()
  return value
}

function expectMagic(reader: ByteReader, magic: Buffer, of: string): void {
  const found = reader.raw(magic.length)
  if (!found.equals(magic)) throw new Malformed(`this is not ${of}: ${found.toString('hex')}`)
}

function bounded(bytes: number): number {
  if (bytes > optionBytesMax)
    throw new Malformed(`${bytes} bytes in an option where at most ${optionBytesMax} are allowed`)
  return bytes
}

function text32(writer: ByteWriter, text: string): ByteWriter {
  const bytes = Buffer.from(text, 'utf8')
  return writer.u32(bytes.length).raw(bytes)
}

function readText32(reader: ByteReader): string {
  return readText(reader, reader.u32())
}

const readRest = (reader: ByteReader): string => readText(reader, reader.remaining)

function readText(reader: ByteReader, bytes: number): string {
  if (bytes > textBytesMax) throw new Malformed(`${bytes} bytes of text where at most ${textBytesMax} are allowed`)
  return reader.raw(bytes).toString('utf8')
}
