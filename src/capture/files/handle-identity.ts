import { hash } from 'node:crypto'
import { fsidBytes } from '../../base/syscalls/filesystem.ts'
import { handleHeaderBytes, type HandleKey } from '../../base/syscalls/handle.ts'

/**
 * What the bytes of a kernel's handle say, where their layout is known (linux/exportfs.h): type 1 of 8 bytes is a 32-bit
 * inode and a generation (ext4 and many others), type 0x81 of 12 bytes a 64-bit inode and a generation (XFS). Other file
 * systems have types of their own, or use type 1 for something else (tmpfs).
 */
export interface HandleIdentity {
  readonly inode: bigint | undefined
  /** Tells a directory from an earlier one with the same inode. */
  readonly generation: bigint
}

export function identityIn(handle: HandleKey): HandleIdentity {
  const bytes = Buffer.from(handle, 'latin1').subarray(fsidBytes)
  const type = bytes.readUInt32LE(4)
  const id = bytes.subarray(handleHeaderBytes)
  if (type === 1 && id.length === 8) {
    return { inode: BigInt(id.readUInt32LE(0)), generation: BigInt(id.readUInt32LE(4)) }
  }
  if (type === 0x81 && id.length === 12) {
    return { inode: id.readBigUInt64LE(0), generation: BigInt(id.readUInt32LE(8)) }
  }
  return { inode: undefined, generation: hash('sha256', id, 'buffer').readBigUInt64LE(0) }
}
