import { cString, libcFunction } from './libc.ts'

// struct statfs, 120 bytes on x64 and arm64: f_type at 0, f_fsid at 56
const statfsBytes = 120
const typeOffset = 0
const fsidOffset = 56
export const fsidBytes = 8

const statfs = libcFunction('statfs', 'int', ['bytes', 'bytes'])
const fstatfs = libcFunction('fstatfs', 'int', ['int', 'bytes'])

/**
 * The kernel's name for one file system, as fanotify events carry it: a binary string of 8 bytes. Good while it is
 * mounted; some file systems (XFS) get another at the next mount. All zeros where the file system has none.
 */
export type Fsid = string & { readonly is: 'Fsid' }

export interface Filesystem {
  fsid: Fsid
  /** The magic number of its kind, f_type. */
  type: number
  /** `ext4`, `xfs`, …; the number in hexadecimal for kinds this list does not know. */
  typeName: string
  /** Other machines can change it without any event reaching this one. */
  network: boolean
}

/** The file system a path is on; symbolic links are followed. */
export function filesystemOf(path: string): Filesystem {
  const facts = Buffer.alloc(statfsBytes)
  statfs([cString(path), facts], path)
  return filesystem(facts)
}

export function filesystemOfOpen(fd: number, path?: string): Filesystem {
  const facts = Buffer.alloc(statfsBytes)
  fstatfs([fd, facts], path)
  return filesystem(facts)
}

function filesystem(facts: Buffer): Filesystem {
  const type = facts.readUInt32LE(typeOffset)
  const known = types[type]
  return {
    fsid: facts.toString('latin1', fsidOffset, fsidOffset + fsidBytes) as Fsid,
    type,
    typeName: known?.name ?? `0x${type.toString(16)}`,
    network: known?.network ?? false,
  }
}

// statfs(2) and linux/magic.h
const types: Record<number, { name: string; network: boolean }> = {
  0xef53: { name: 'ext4', network: false }, // ext2 and ext3 have the same number
  0x5846_5342: { name: 'xfs', network: false },
  0x9123_683e: { name: 'btrfs', network: false },
  0x2fc1_2fc1: { name: 'zfs', network: false },
  0xf2f5_2010: { name: 'f2fs', network: false },
  0x0102_1994: { name: 'tmpfs', network: false },
  0x794c_7630: { name: 'overlay', network: false },
  0x5346_544e: { name: 'ntfs', network: false },
  0x7366_746e: { name: 'ntfs3', network: false },
  0x4d44: { name: 'vfat', network: false },
  0x2011_bab0: { name: 'exfat', network: false },
  0x7371_7368: { name: 'squashfs', network: false },
  0x9660: { name: 'iso9660', network: false },
  0x9fa0: { name: 'proc', network: false },
  0x6265_6572: { name: 'sysfs', network: false },
  0x6969: { name: 'nfs', network: true },
  0xff53_4d42: { name: 'cifs', network: true },
  0xfe53_4d42: { name: 'smb2', network: true },
  0x517b: { name: 'smb', network: true },
  0x6573_5546: { name: 'fuse', network: true }, // most that is mounted by FUSE is remote (sshfs, GlusterFS, s3fs)
  0x00c3_6400: { name: 'ceph', network: true },
  0x0102_1997: { name: '9p', network: true },
  0x5346_414f: { name: 'afs', network: true },
  0x0bd0_0bd0: { name: 'lustre', network: true },
  0x4750_4653: { name: 'gpfs', network: true },
  0x0116_1970: { name: 'gfs2', network: true },
  0x7461_636f: { name: 'ocfs2', network: true },
}
