import { libcFunction } from './libc.ts'

// sys/socket.h
const level = 1
const peerCredentials = 17
const bothWays = 2
/** struct ucred: pid, uid, gid */
const credentialsBytes = 12

const getsockopt = libcFunction('getsockopt', 'int', ['int', 'int', 'int', 'bytes', 'bytes'])
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
