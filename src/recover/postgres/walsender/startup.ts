import { ByteReader, Malformed } from '../../../base/bytes.ts'

/**
 * The first packets of a client, which have no type letter: u32 length (itself included), u32 code, rest.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export type StartupPacket =
  | { readonly kind: 'ssl' }
  | { readonly kind: 'gss' }
  | { readonly kind: 'cancel' }
  | { readonly kind: 'startup'; readonly minor: number; readonly parameters: ReadonlyMap<string, string> }

/** The server's own limit. */
const packetBytesMax = 10_000
const codes = { cancel: 80_877_102, ssl: 80_877_103, gss: 80_877_104 }

/** The packet that begins `bytes`, and its length; undefined while it is not whole. */
export function readStartupPacket(bytes: Buffer): { packet: StartupPacket; bytes: number } | undefined {
  if (bytes.length < 4) return undefined
  const length = bytes.readUInt32BE(0)
  if (length < 8 || length > packetBytesMax) throw new Malformed(`a first packet of ${length} bytes`)
  if (bytes.length < length) return undefined
  const reader = new ByteReader(bytes, 4, length)
  const code = reader.u32()
  if (code === codes.cancel) return { packet: { kind: 'cancel' }, bytes: length }
  if (code === codes.ssl || code === codes.gss) {
    reader.end()
    return { packet: { kind: code === codes.ssl ? 'ssl' : 'gss' }, bytes: length }
  }
  if (code >>> 16 !== 3) throw new Malformed(`protocol ${code >>> 16}.${code & 0xffff}`)
  const parameters = readParameters(reader.raw(reader.remaining))
  return { packet: { kind: 'startup', minor: code & 0xffff, parameters }, bytes: length }
}

/** Names and values, each ended by a zero byte, and one more at the end. */
function readParameters(bytes: Buffer): Map<string, string> {
  const texts = bytes.toString('utf8').split('\0')
  // What ends the last value, and what ends the list, leave two empty texts.
  if (texts.length % 2 !== 0 || texts.at(-1) !== '' || texts.at(-2) !== '') throw new Malformed('startup parameters')
  const parameters = new Map<string, string>()
  for (let at = 0; at < texts.length - 2; at += 2) parameters.set(texts[at] as string, texts[at + 1] as string)
  return parameters
}
