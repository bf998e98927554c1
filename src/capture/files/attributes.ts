import { hash } from 'node:crypto'
import { readXattrs } from '../../base/syscalls/xattrs.ts'
import { unlessFailedWith } from '../../base/syscalls/system-call-error.ts'
import { ByteWriter } from '../../base/bytes.ts'
import type { Attributes, Xattr } from '../../model/change.ts'
import type { BinaryString } from '../../model/path.ts'
import { type AbsolutePath, groupOf, modeOf, modifiedNsOf, ownerOf, type Stat } from './stat.ts'

const xattrHashBytes = 16

export interface KnownAttributes {
  readonly attributes: Attributes
  /** What the catalog keeps of the extended attributes; undefined where there are none. */
  readonly xattrs: Buffer | undefined
}

/** The attributes of what stands at `path`, of which `stat` has been read. */
export function attributesAt(path: AbsolutePath, stat: Stat): KnownAttributes {
  const xattrs = unlessFailedWith(['ENOENT', 'ENOTDIR'], [], () => readXattrs(path)) as Xattr[]
  return { attributes: attributesOf(stat, xattrs), xattrs: hashOf(xattrs) }
}

const attributesOf = (stat: Stat, xattrs: readonly Xattr[]): Attributes => ({
  mode: modeOf(stat),
  uid: ownerOf(stat),
  gid: groupOf(stat),
  modifiedNs: modifiedNsOf(stat),
  xattrs,
})

export function hashOf(xattrs: readonly Xattr[]): Buffer | undefined {
  if (xattrs.length === 0) return undefined
  const writer = new ByteWriter()
  for (const { name, value } of xattrs) writer.binary(name as BinaryString).bytes(value)
  return hash('sha256', writer.finish(), 'buffer').subarray(0, xattrHashBytes)
}

export const isSameXattrs = (a: Buffer | undefined, b: Buffer | undefined): boolean =>
  a === undefined || b === undefined ? a === b : a.equals(b)
