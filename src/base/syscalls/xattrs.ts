import { cString, libcFunction } from './libc.ts'
import { isSystemError } from '../errors.ts'
import { unlessFailedWith } from './system-call-error.ts'

/**
 * Extended attributes of a path itself, never of what a symbolic link points to. POSIX ACLs are the attributes
 * `system.posix_acl_access` and `system.posix_acl_default`, file capabilities `security.capability`. Names are binary strings.
 */
export interface Xattr {
  name: string
  value: Buffer
}

const llistxattr = libcFunction('llistxattr', 'int64', ['bytes', 'bytes', 'size_t'])
const lgetxattr = libcFunction('lgetxattr', 'int64', ['bytes', 'bytes', 'bytes', 'size_t'])
const lsetxattr = libcFunction('lsetxattr', 'int', ['bytes', 'bytes', 'bytes', 'size_t', 'int'])
const lremovexattr = libcFunction('lremovexattr', 'int', ['bytes', 'bytes'])

/** All attributes, ascending by name. Empty where the file system has none. One removed while reading is left out. */
export function readXattrs(path: string): Xattr[] {
  const attributes: Xattr[] = []
  for (const name of listXattrs(path)) {
    const value = getXattr(path, name)
    if (value !== undefined) attributes.push({ name, value })
  }
  return attributes
}

export function listXattrs(path: string): string[] {
  const pathBytes = cString(path)
  const list = unlessFailedWith(['ENOTSUP'], empty, () =>
    readGrowing((into) => llistxattr([pathBytes, into, into.length], path)),
  )
  if (list.length === 0) return []
  return list
    .toString('latin1', 0, list.length - 1)
    .split('\0')
    .sort(byBytes)
}

/** `undefined` when the path has no such attribute, or its file system none at all. */
export function getXattr(path: string, name: string): Buffer | undefined {
  const pathBytes = cString(path)
  const nameBytes = cString(name)
  return unlessFailedWith(['ENODATA', 'ENOTSUP'], undefined, () =>
    readGrowing((into) => lgetxattr([pathBytes, nameBytes, into, into.length], path)),
  )
}

/** Creates or replaces. */
export function setXattr(path: string, name: string, value: Uint8Array): void {
  lsetxattr([cString(path), cString(name), value, value.length, 0], path)
}

/** Removing an absent attribute fails with ENODATA. */
export function removeXattr(path: string, name: string): void {
  lremovexattr([cString(path), cString(name)], path)
}

const empty = Buffer.alloc(0)

// Nearly every list and value fits; the kernel would zero a larger first buffer at every call.
const scratch = Buffer.alloc(1024)
const growth = 8
const bufferBytesMax = 1024 * 1024 // Linux has no list or value above 64 KiB

/** `read` fills `into`. A larger buffer is tried rather than the size asked for: another process may change it between two calls. */
function readGrowing(read: (into: Buffer) => number): Buffer {
  let into = scratch
  for (;;) {
    try {
      return Buffer.from(into.subarray(0, read(into)))
    } catch (error) {
      if (!isSystemError(error, 'ERANGE') || into.length >= bufferBytesMax) throw error
      into = Buffer.alloc(into.length * growth)
    }
  }
}

// Binary strings: comparing chars is comparing bytes.
function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
