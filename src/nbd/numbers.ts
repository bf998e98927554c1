import type { NbdError } from './export.ts'

/**
 * Numbers of the NBD protocol, by the names of its specification (doc/proto.md of https://github.com/NetworkBlockDevice/nbd).
 * docs/protocols/nbd.md tells which part of it is spoken here.
 */

/** `NBDMAGIC`, then `IHAVEOPT`: what a server says first, and the second of them again before each option. */
export const greetingMagic = Buffer.from('NBDMAGIC', 'latin1')
export const optionMagic = Buffer.from('IHAVEOPT', 'latin1')
export const optionReplyMagic = Buffer.from('0003e889045565a9', 'hex')
export const requestMagic = 0x25609513
export const simpleReplyMagic = 0x67446698
export const chunkMagic = 0x668e33ef

/** Flags of the handshake; of the server and of the client alike. */
export const handshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const

export const option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const

const optionFailed = 2 ** 31

export const optionReply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  unsupported: optionFailed + 1,
  policy: optionFailed + 2,
  invalid: optionFailed + 3,
  tlsRequired: optionFailed + 5,
  unknown: optionFailed + 6,
  shutdown: optionFailed + 7,
  blockSizeRequired: optionFailed + 8,
  tooBig: optionFailed + 9,
} as const

export const isOptionFailure = (type: number): boolean => type >= optionFailed

export const info = { export: 0, name: 1, description: 2, blockSize: 3 } as const

/** What an export can do. */
export const transmissionFlag = {
  hasFlags: 1,
  readOnly: 2,
  flush: 4,
  forced: 8,
  trim: 32,
  zero: 64,
  dontFragment: 128,
  multiConnection: 256,
  fastZero: 2048,
} as const

export const command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  zero: 6,
  blockStatus: 7,
} as const

export const commandFlag = { forced: 1, noHole: 2, dontFragment: 4, oneExtent: 8, fastZero: 16 } as const

export const chunkFlag = { done: 1 } as const

const chunkFailed = 2 ** 15

export const chunkType = {
  none: 0,
  data: 1,
  hole: 2,
  blockStatus: 5,
  error: chunkFailed + 1,
  errorAt: chunkFailed + 2,
} as const

/** Flags of an extent in the context `base:allocation`. */
export const allocationContext = 'base:allocation'
export const allocationFlag = { hole: 1, zero: 2 } as const

/** The numbers of Linux, on every platform. */
export const errorNumbers: Readonly<Record<NbdError, number>> = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
}

const errorsByNumber = new Map(Object.entries(errorNumbers).map(([name, number]) => [number, name as NbdError]))

/** A number that the specification does not list counts as `EINVAL`. */
export const errorOfNumber = (number: number): NbdError => errorsByNumber.get(number) ?? 'EINVAL'

/** The longest payload of a request or of a reply to a read; what a client may rely on unless told otherwise. */
export const payloadBytesMax = 32 * 1024 * 1024
/** Of the names of exports and contexts, and of descriptions. */
export const textBytesMax = 4096
/** Of the data of one option or of a reply to one. */
export const optionBytesMax = 64 * 1024
export const blockBytesMax = 64 * 1024
/** What is told of the blocks in one reply. */
export const extentsMax = 4096
