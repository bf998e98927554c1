import { closeDescriptor } from './close.ts'
import { libcFunction } from './libc.ts'

// sys/socket.h
const level = 1
const peerCredentials = 17
const receiveTimeout = 20
const bothWays = 2
const unixFamily = 1
const streamType = 1
const netlinkFamily = 16
const rawType = 3
const genericNetlink = 16
const closeOnExec = 0x80000 // SOCK_CLOEXEC
/** struct ucred: pid, uid, gid */
const credentialsBytes = 12

const getsockopt = libcFunction('getsockopt', 'int', ['int', 'int', 'int', 'bytes', 'bytes'])
const setsockopt = libcFunction('setsockopt', 'int', ['int', 'int', 'int', 'bytes', 'int'])
const socket = libcFunction('socket', 'int', ['int', 'int', 'int'])
const connect = libcFunction('connect', 'int', ['int', 'bytes', 'int'])
const shutdown = libcFunction('shutdown', 'int', ['int', 'int'])

export interface PeerCredentials {
  /** 0 where it is not of this process's namespace. */
  readonly pid: number
  readonly uid: number
}

/** Who connected to a Unix socket. */
export function peerOf(fd: number): PeerCredentials {
  const credentials = Buffer.alloc(credentialsBytes)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(credentialsBytes)
  getsockopt([fd, level, peerCredentials, credentials, length])
  return { pid: credentials.readInt32LE(0), uid: credentials.readUInt32LE(4) }
}

/** Ends a connection, whatever the thread that owns it is doing: the other end learns it at once. */
export function shutDown(fd: number): void {
  shutdown([fd, bothWays])
}

/**
 * A connection to a Unix socket that no event loop has, such as one that is to be the kernel's. Reads and writes of it wait;
 * it is closed with `closeDescriptor`, which does not end what the kernel has of it.
 */
export function connectUnix(path: string): number {
  const name = Buffer.from(`${path}\0`)
  const address = Buffer.alloc(2 + name.length)
  address.writeUInt16LE(unixFamily)
  name.copy(address, 2)
  const fd = socket([unixFamily, streamType | closeOnExec, 0])
  try {
    connect([fd, address, address.length], Buffer.from(path).toString('latin1'))
    return fd
  } catch (error) {
    closeDescriptor(fd)
    throw error
  }
}

/** How long a read waits before it fails with EAGAIN; 0 is for ever. */
export function limitReceiving(fd: number, ms: number): void {
  // struct timeval
  const time = Buffer.alloc(16)
  time.writeBigInt64LE(BigInt(Math.trunc(ms / 1000)), 0)
  time.writeBigInt64LE(BigInt((ms % 1000) * 1000), 8)
  setsockopt([fd, level, receiveTimeout, time, time.length])
}

/** What is written to it is asked of the kernel. */
export const netlinkSocket = (): number => socket([netlinkFamily, rawType | closeOnExec, genericNetlink])
