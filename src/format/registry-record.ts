import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto'
import { Malformed } from '../base/bytes.ts'
import type { Random } from '../base/random.ts'

/**
 * A record of the registry: a small JSON text, replaced whole.
 *
 *   0   8  magic "TIDEREC1"
 *   8  12  nonce, random
 *  20   n  ciphertext: AES-256-GCM under the registry's key, AAD the magic and then the record's name
 * 20+n 16  tag
 *
 * The name in the AAD keeps one record from standing in for another.
 */
const magic = Buffer.from('TIDEREC1', 'latin1')
const nonceBytes = 12
const tagBytes = 16
const headBytes = magic.length + nonceBytes
export const recordBytesMax = 1024 * 1024

export function encodeRecord(name: string, value: unknown, key: KeyObject, random: Random): Buffer {
  const nonce = random.bytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes })
  cipher.setAAD(Buffer.concat([magic, Buffer.from(name, 'utf8')]))
  const text = cipher.update(JSON.stringify(value), 'utf8')
  cipher.final()
  return Buffer.concat([magic, nonce, text, cipher.getAuthTag()])
}

/** What was written, not yet known to be of any form but JSON. */
export function decodeRecord(name: string, bytes: Buffer, key: KeyObject): unknown {
  if (bytes.length < headBytes + tagBytes || bytes.compare(magic, 0, magic.length, 0, magic.length) !== 0) {
    throw new Malformed('not a record of a registry')
  }
  const nonce = bytes.subarray(magic.length, headBytes)
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes })
  decipher.setAAD(Buffer.concat([magic, Buffer.from(name, 'utf8')]))
  decipher.setAuthTag(bytes.subarray(bytes.length - tagBytes))
  const text = decipher.update(bytes.subarray(headBytes, bytes.length - tagBytes))
  try {
    decipher.final()
  } catch {
    throw new Malformed('record is not authentic')
  }
  return JSON.parse(text.toString('utf8'))
}
