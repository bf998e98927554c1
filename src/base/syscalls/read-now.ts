import { isSystemError } from '../errors.ts'
import { libcFunction } from './libc.ts'

// preadv2(2); glibc passes the offset on as one register on x64 and arm64.
const nowait = 0x8 // RWF_NOWAIT
const preadv2 = libcFunction('preadv2', 'int64', ['int', 'bytes', 'int', 'int64', 'int'])
// Returns its first argument: how JavaScript learns where a buffer's memory is.
const memcpy = libcFunction('memcpy', 'int64', ['bytes', 'bytes', 'size_t'])

// struct iovec: address, length
const vector = Buffer.allocUnsafeSlow(16)
const nothing = Buffer.allocUnsafeSlow(64)

/**
 * Fills `into` with what stands at `at`, if the memory of the system has all of it; false where the disk would have to be waited for, where
 * the file ends before, or where the file system cannot tell. Then `into` may hold part of it. For buffers of 64 bytes or more:
 * smaller ones may be moved by the garbage collector.
 */
export function readNow(fd: number, into: Buffer, at: number): boolean {
  if (into.byteLength < 64) return false
  vector.writeBigUInt64LE(BigInt(memcpy([into, nothing, 0])), 0)
  vector.writeBigUInt64LE(BigInt(into.byteLength), 8)
  try {
    return preadv2([fd, vector, 1, at, nowait]) === into.byteLength
  } catch (error) {
    if (isSystemError(error, 'EAGAIN', 'EINTR', 'ENOTSUP', 'ENOSYS', 'EINVAL')) return false
    throw error
  }
}
