/**
 * Messages of generic netlink, all numbers in the order of the machine, which is little-endian on x64 and arm64:
 *
 *    0  4  length of the message     4  2  type: the family, or 2 for the word that it is done
 *    6  2  flags                     8  4  sequence: the answer has that of the question
 *   12  4  port of the sender       16  1  command
 *   17  1  version                  18  2  zero
 *   20     attributes: length with these four bytes (2), type (2), data, zeros up to a multiple of 4
 *
 * "Done" has the negative number of an error, or 0, at 16.
 */
export interface NetlinkAttribute {
  readonly type: number
  readonly data: Buffer
}

export interface NetlinkQuestion {
  readonly family: number
  readonly command: number
  readonly sequence: number
  readonly attributes: readonly NetlinkAttribute[]
}

export interface NetlinkAnswer {
  readonly type: number
  readonly sequence: number
  /** Negative, or 0, where the type is 2. */
  readonly error: number
  readonly attributes: readonly NetlinkAttribute[]
}

const headerBytes = 16
const commandBytes = 4
const attributeHeaderBytes = 4
const doneType = 2
const nestedFlag = 0x8000
/** NLM_F_REQUEST and NLM_F_ACK. */
const wantsAnswer = 1 | 4
const version = 1

export const textAttribute = (type: number, text: string): NetlinkAttribute => ({
  type,
  data: Buffer.from(`${text}\0`),
})

export function numberAttribute(type: number, value: number, bytes: 4 | 8): NetlinkAttribute {
  const data = Buffer.alloc(bytes)
  if (bytes === 4) data.writeUInt32LE(value)
  else data.writeBigUInt64LE(BigInt(value))
  return { type, data }
}

export const nestedAttribute = (type: number, inside: readonly NetlinkAttribute[]): NetlinkAttribute => ({
  type: type | nestedFlag,
  data: Buffer.concat(inside.map(encodeAttribute)),
})

export function encodeMessage({ family, command, sequence, attributes }: NetlinkQuestion): Buffer {
  const header = Buffer.alloc(headerBytes + commandBytes)
  const message = Buffer.concat([header, ...attributes.map(encodeAttribute)])
  message.writeUInt32LE(message.length, 0)
  message.writeUInt16LE(family, 4)
  message.writeUInt16LE(wantsAnswer, 6)
  message.writeUInt32LE(sequence, 8)
  message.writeUInt8(command, headerBytes)
  message.writeUInt8(version, headerBytes + 1)
  return message
}

function encodeAttribute({ type, data }: NetlinkAttribute): Buffer {
  const encoded = Buffer.alloc(padded(attributeHeaderBytes + data.length))
  encoded.writeUInt16LE(attributeHeaderBytes + data.length, 0)
  encoded.writeUInt16LE(type, 2)
  data.copy(encoded, attributeHeaderBytes)
  return encoded
}

/** Of all the messages that one read has brought. */
export function decodeMessages(bytes: Buffer): NetlinkAnswer[] {
  const messages: NetlinkAnswer[] = []
  for (let at = 0; at + headerBytes + commandBytes <= bytes.length;) {
    const length = bytes.readUInt32LE(at)
    const type = bytes.readUInt16LE(at + 4)
    const body = bytes.subarray(at + headerBytes + commandBytes, at + length)
    messages.push({
      type,
      sequence: bytes.readUInt32LE(at + 8),
      error: type === doneType ? bytes.readInt32LE(at + headerBytes) : 0,
      attributes: type === doneType ? [] : decodeAttributes(body),
    })
    at += padded(Math.max(length, headerBytes))
  }
  return messages
}

function decodeAttributes(bytes: Buffer): NetlinkAttribute[] {
  const attributes: NetlinkAttribute[] = []
  for (let at = 0; at + attributeHeaderBytes <= bytes.length;) {
    const length = Math.max(bytes.readUInt16LE(at), attributeHeaderBytes)
    const type = bytes.readUInt16LE(at + 2) & ~nestedFlag
    attributes.push({ type, data: Buffer.from(bytes.subarray(at + attributeHeaderBytes, at + length)) })
    at += padded(length)
  }
  return attributes
}

const padded = (bytes: number): number => Math.ceil(bytes / 4) * 4
