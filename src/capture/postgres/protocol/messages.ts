import { ByteReader, ByteWriter, Malformed } from '../../../base/bytes.ts'

/** The messages of protocol 3.0 that this client says and hears, all but CopyData. Strings are UTF-8 and end in a zero byte. */
export const heard = {
  authentication: 0x52, // R
  parameterStatus: 0x53, // S
  backendKeyData: 0x4b, // K
  negotiateProtocolVersion: 0x76, // v
  readyForQuery: 0x5a, // Z
  error: 0x45, // E
  notice: 0x4e, // N
  notification: 0x41, // A
  rowDescription: 0x54, // T
  dataRow: 0x44, // D
  commandComplete: 0x43, // C
  emptyQuery: 0x49, // I
  copyInResponse: 0x47, // G
  copyOutResponse: 0x48, // H
  copyBothResponse: 0x57, // W
  copyDone: 0x63, // c
} as const

const protocolVersion = 3 * 0x1_0000
const sslRequestCode = 80_877_103
const cancelRequestCode = 80_877_102

/** Encodes with the type letter and the length in front. */
function message(type: string, write: (body: ByteWriter) => ByteWriter): Buffer {
  const body = write(new ByteWriter()).finish()
  return new ByteWriter(body.length + 5)
    .raw(Buffer.from(type, 'latin1'))
    .u32(body.length + 4)
    .raw(body)
    .finish()
}

/** The messages before a connection is one have no type letter. */
function untyped(write: (body: ByteWriter) => ByteWriter): Buffer {
  const body = write(new ByteWriter()).finish()
  return new ByteWriter(body.length + 4)
    .u32(body.length + 4)
    .raw(body)
    .finish()
}

const string = (body: ByteWriter, text: string): ByteWriter => {
  if (text.includes('\0')) throw new Malformed('a zero character in text for a database server')
  return body.raw(Buffer.from(text, 'utf8')).u8(0)
}

export const startup = (parameters: Readonly<Record<string, string>>): Buffer =>
  untyped((body) => {
    body.u32(protocolVersion)
    for (const [name, value] of Object.entries(parameters)) string(string(body, name), value)
    return body.u8(0)
  })

export const sslRequest = (): Buffer => untyped((body) => body.u32(sslRequestCode))

export const cancelRequest = (key: BackendKey): Buffer =>
  untyped((body) => body.u32(cancelRequestCode).u32(key.process).raw(key.secret))

export const query = (text: string): Buffer => message('Q', (body) => string(body, text))
export const passwordMessage = (text: string): Buffer => message('p', (body) => string(body, text))
export const copyDone = (): Buffer => message('c', (body) => body)
export const terminate = (): Buffer => message('X', (body) => body)

export const saslInitialResponse = (mechanism: string, response: string): Buffer =>
  message('p', (body) => {
    const bytes = Buffer.from(response, 'utf8')
    return string(body, mechanism).u32(bytes.length).raw(bytes)
  })

export const saslResponse = (response: string): Buffer =>
  message('p', (body) => body.raw(Buffer.from(response, 'utf8')))

export interface BackendKey {
  readonly process: number
  readonly secret: Buffer
}

export function readBackendKey(body: Buffer): BackendKey {
  const reader = new ByteReader(body)
  return { process: reader.u32(), secret: Buffer.from(reader.raw(reader.remaining)) }
}

export function readParameter(body: Buffer): [name: string, value: string] {
  const texts = readStrings(body)
  if (texts.length !== 2) throw new Malformed('a parameter that is not a name and a value')
  return texts as [string, string]
}

/** What an error or a notice consists of; the letters are those of the protocol's "Error and Notice Message Fields". */
export interface ServerReport {
  /** `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE`, …, never translated. */
  readonly severity: string
  /** SQLSTATE. */
  readonly sqlState: string
  readonly message: string
  readonly detail: string | undefined
  readonly hint: string | undefined
}

export function readReport(body: Buffer): ServerReport {
  const fields = new Map(
    readStrings(body)
      .filter((field) => field !== '')
      .map((field) => [field[0] as string, field.slice(1)]),
  )
  return {
    severity: fields.get('V') ?? fields.get('S') ?? 'ERROR',
    sqlState: fields.get('C') ?? '',
    message: fields.get('M') ?? 'no reason given',
    detail: fields.get('D'),
    hint: fields.get('H'),
  }
}

/** Texts that each end in a zero byte. The list may end in an empty one. */
export function readStrings(body: Buffer): string[] {
  if (body.length === 0 || body.at(-1) !== 0) throw new Malformed('text without its end')
  return body.toString('utf8', 0, body.length - 1).split('\0')
}

export function readColumnNames(body: Buffer): string[] {
  const reader = new ByteReader(body)
  const names = Array.from({ length: reader.u16() }, () => {
    const rest = body.subarray(reader.position)
    const end = rest.indexOf(0)
    if (end < 0) throw new Malformed('a column name without its end')
    reader.raw(end + 1)
    // Table, column, type, its size and modifier, format.
    reader.raw(18)
    return rest.toString('utf8', 0, end)
  })
  reader.end()
  return names
}

/** Views into `body`, null where the value is. */
export function readRow(body: Buffer): (Buffer | null)[] {
  const reader = new ByteReader(body)
  const values = Array.from({ length: reader.u16() }, () => {
    const bytes = reader.u32()
    return bytes === 0xffff_ffff ? null : reader.raw(bytes)
  })
  reader.end()
  return values
}
