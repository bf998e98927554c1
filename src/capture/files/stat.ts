import { type BigIntStats, lstatSync, statSync } from 'node:fs'
import type { Content } from '../../model/change.ts'
import type { Moment } from '../../model/moment.ts'
import type { BinaryString } from '../../model/path.ts'

/** A path as system calls take it: absolute, bytes as they are. */
export type AbsolutePath = BinaryString & { readonly is: 'absolute path' }

export type NodeType = Content['type']

/**
 * What the system says of one file, directory or other node, in the form in which it is compared.
 *
 *    0  4  file system: the catalog's number for it, because device numbers change between boots
 *    4  4  st_mode: type and permission bits
 *    8  4  owner       12  4  group
 *   16  8  inode
 *   24  8  generation of a directory (see handle-identity.ts); 0 for others and where it is not known
 *   32  8  size (0 for directories: it says nothing of them)
 *   40  8  modified, nanoseconds
 *   48  8  changed (ctime), nanoseconds; 0 says that nobody has compared this node's content with the source yet
 *   56  8  device number of a device, else 0
 * Little-endian. Equal bytes say that nothing has changed, except within the clock's granularity.
 */
export type Stat = Buffer & { readonly is: 'stat' }
const statBytes = 64

const format = 0o170000
const types: Record<number, NodeType> = {
  0o040000: 'directory',
  0o100000: 'file',
  0o120000: 'symlink',
  0o010000: 'fifo',
  0o140000: 'socket',
  0o020000: 'character-device',
  0o060000: 'block-device',
}
const formats = new Map(Object.entries(types).map(([bits, type]) => [type, Number(bits)]))

export const typeOf = (stat: Stat): NodeType => types[stat.readUInt32LE(4) & format] ?? 'socket'
export const modeOf = (stat: Stat): number => stat.readUInt32LE(4) & 0o7777
export const ownerOf = (stat: Stat): number => stat.readUInt32LE(8)
export const groupOf = (stat: Stat): number => stat.readUInt32LE(12)
export const filesystemNumberOf = (stat: Stat): number => stat.readUInt32LE(0)
export const inodeOf = (stat: Stat): bigint => stat.readBigUInt64LE(16)
export const sizeOf = (stat: Stat): number => Number(stat.readBigUInt64LE(32))
export const modifiedNsOf = (stat: Stat): bigint => stat.readBigInt64LE(40)
export const changedNsOf = (stat: Stat): bigint => stat.readBigInt64LE(48)
export const deviceOf = (stat: Stat): bigint => stat.readBigUInt64LE(56)

export const isProven = (stat: Stat): boolean => changedNsOf(stat) !== 0n

/** The same node under whatever name, as far as can be told: the inode, and for directories its generation. */
export const isSameNode = (a: Stat, b: Stat): boolean =>
  a.readUInt32LE(0) === b.readUInt32LE(0) &&
  a.compare(b, 16, 32, 16, 32) === 0 &&
  (a.readUInt32LE(4) & format) === (b.readUInt32LE(4) & format)

export const isEqualStat = (a: Stat, b: Stat): boolean => a.compare(b) === 0

/** Size and modification time: what tells, together with events, that content is as it was. */
export const isSameContentStat = (a: Stat, b: Stat): boolean => a.compare(b, 32, 48, 32, 48) === 0

/** Permission bits, owner, group and modification time. */
export const isSameAttributesStat = (a: Stat, b: Stat): boolean =>
  a.compare(b, 4, 16, 4, 16) === 0 && a.compare(b, 40, 48, 40, 48) === 0

export function packStat(from: BigIntStats, filesystemNumber: number, generation: bigint): Stat {
  const mode = Number(from.mode)
  // A DataView writes big integers several times faster than a Buffer.
  const view = new DataView(new ArrayBuffer(statBytes))
  view.setUint32(0, filesystemNumber, true)
  view.setUint32(4, mode, true)
  view.setUint32(8, Number(from.uid), true)
  view.setUint32(12, Number(from.gid), true)
  view.setBigUint64(16, from.ino, true)
  view.setBigUint64(24, generation, true)
  view.setBigUint64(32, (mode & format) === 0o040000 ? 0n : from.size, true)
  view.setBigInt64(40, from.mtimeNs, true)
  view.setBigInt64(48, from.ctimeNs, true)
  view.setBigUint64(56, from.rdev, true)
  return Buffer.from(view.buffer) as Stat
}

/** The stat of something known only from a manifest: equal to nothing on disk, so it will be compared. */
export function unprovenStat(of: {
  type: NodeType
  mode: number
  uid: number
  gid: number
  modifiedNs: bigint
  size: number
}): Stat {
  const stat = Buffer.alloc(statBytes) as Stat
  stat.writeUInt32LE((formats.get(of.type) ?? 0) | of.mode, 4)
  stat.writeUInt32LE(of.uid, 8)
  stat.writeUInt32LE(of.gid, 12)
  stat.writeBigUInt64LE(BigInt(of.size), 32)
  stat.writeBigInt64LE(of.modifiedNs, 40)
  return stat
}

const options = { bigint: true, throwIfNoEntry: false } as const

/** Undefined where there is nothing; ENOTDIR (a parent is no directory now) is nothing, too. */
export function statOf(path: AbsolutePath): BigIntStats | undefined {
  return absentAsUndefined(() => lstatSync(systemPath(path), options))
}

/** The same, of what a symbolic link leads to. */
export function statThrough(path: AbsolutePath): BigIntStats | undefined {
  return absentAsUndefined(() => statSync(systemPath(path), options))
}

function absentAsUndefined(call: () => BigIntStats | undefined): BigIntStats | undefined {
  try {
    return call()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOTDIR' || code === 'ENOENT') return undefined
    throw error
  }
}

export const systemPath = (path: AbsolutePath): Buffer => Buffer.from(path, 'latin1')

/** The kernel sets the times of a file before it copies the bytes, and its clock may be coarse. */
const granularityNs = 2_000_000_000n

/** What is changed after that moment has times from here on. */
export const earliestNsAfter = (since: Moment): bigint => BigInt(since) * 1000n - granularityNs
