import { ByteWriter } from '../../../base/bytes.ts'
import type { Lsn } from '../../../model/lsn.ts'
import type { Moment } from '../../../model/moment.ts'

/** What a walsender says, of protocol 3.0: a type letter, u32 length without the letter, body. */
const epoch2000Us = 946_684_800_000_000

function message(type: string, write: (body: ByteWriter) => ByteWriter): Buffer {
  const body = write(new ByteWriter()).finish()
  return new ByteWriter(body.length + 5)
    .raw(Buffer.from(type, 'latin1'))
    .u32(body.length + 4)
    .raw(body)
    .finish()
}

const string = (body: ByteWriter, text: string): ByteWriter =>
  body.raw(Buffer.from(text.replaceAll('\0', ' '), 'utf8')).u8(0)

export const authenticationOk = (): Buffer => message('R', (body) => body.u32(0))
export const parameterStatus = (name: string, value: string): Buffer =>
  message('S', (body) => string(string(body, name), value))
export const backendKeyData = (process: number, secret: Uint8Array): Buffer =>
  message('K', (body) => body.u32(process).raw(secret))
export const readyForQuery = (): Buffer => message('Z', (body) => body.u8('I'.charCodeAt(0)))
/** Of the protocol's minor version: 3.0 is what is spoken, and of the options asked for none is known. */
export const negotiateProtocolVersion = (options: readonly string[]): Buffer =>
  message('v', (body) => options.reduce(string, body.u32(3 * 0x1_0000).u32(options.length)))

const typeOids = { text: 25, int4: 23, int8: 20 }
export interface Column {
  readonly name: string
  readonly type: keyof typeof typeOids
}

/** A result of one row. */
export function oneRow(columns: readonly Column[], values: readonly (string | Buffer | null)[]): Buffer {
  const description = message('T', (body) => {
    body.u16(columns.length)
    for (const { name, type } of columns) {
      // Table and column: none. Then type, its size, its modifier, text format.
      string(body, name).u32(0).u16(0).u32(typeOids[type])
      body
        .u16(type === 'text' ? 0xffff : type === 'int4' ? 4 : 8)
        .u32(0xffff_ffff)
        .u16(0)
    }
    return body
  })
  const row = message('D', (body) => {
    body.u16(values.length)
    for (const value of values) {
      if (value === null) body.u32(0xffff_ffff)
      else {
        const bytes = Buffer.from(value)
        body.u32(bytes.length).raw(bytes)
      }
    }
    return body
  })
  return Buffer.concat([description, row])
}

export const commandComplete = (tag: string): Buffer => message('C', (body) => string(body, tag))
export const copyBothResponse = (): Buffer => message('W', (body) => body.u8(0).u16(0))
export const copyDone = (): Buffer => message('c', (body) => body)

export interface Refusal {
  readonly severity: 'ERROR' | 'FATAL'
  /** https://www.postgresql.org/docs/current/errcodes-appendix.html */
  readonly sqlState: string
  readonly message: string
  readonly hint?: string | undefined
}

export const errorResponse = ({ severity, sqlState, message: text, hint }: Refusal): Buffer =>
  message('E', (body) => {
    const field = (letter: string, value: string): void => void string(body.raw(Buffer.from(letter, 'latin1')), value)
    field('S', severity)
    field('V', severity)
    field('C', sqlState)
    field('M', text)
    if (hint !== undefined) field('H', hint)
    return body.u8(0)
  })

/** What goes in front of WAL: CopyData's own head, then u8 'w', u64 start, u64 end of WAL, i64 microseconds since 2000. */
export const walDataHead = (start: Lsn, walEnd: Lsn, now: Moment, bytes: number): Buffer =>
  new ByteWriter(30)
    .u8(0x64)
    .u32(4 + 25 + bytes)
    .u8(0x77)
    .u64(start)
    .u64(walEnd)
    .i64(BigInt(now - epoch2000Us))
    .finish()

export const keepalive = (walEnd: Lsn, now: Moment, wantsReply: boolean): Buffer =>
  message('d', (body) =>
    body
      .u8(0x6b)
      .u64(walEnd)
      .i64(BigInt(now - epoch2000Us))
      .u8(wantsReply ? 1 : 0),
  )
