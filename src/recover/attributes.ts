import { chmodSync, fchmodSync, fchownSync, lchownSync } from 'node:fs'
import { isSystemError } from '../base/errors.ts'
import { setTimes } from '../base/syscalls/times.ts'
import { listXattrs, removeXattr, setXattr } from '../base/syscalls/xattrs.ts'
import type { Attributes, Xattr } from '../model/change.ts'
import type { BinaryString } from '../model/path.ts'
import type { NoteKind, Notes } from './notes.ts'

const setIds = 0o6000

export interface Dressed {
  /** For system calls that do not follow links. */
  readonly place: BinaryString
  /** Of what can be opened without effect: files and folders. */
  readonly descriptor?: number
  readonly isSymlink?: boolean
  /** In the tree, for notes. */
  readonly path: string
}

/**
 * Gives a file, folder or node its attributes. The order matters: a change of owner takes set-ids and file
 * capabilities away, a mode or an ACL may keep an owner who is not root from setting the rest.
 */
export function applyAttributes(on: Dressed, attributes: Attributes, notes: Notes): void {
  const { place, descriptor } = on
  const { uid, gid, xattrs, modifiedNs } = attributes
  const placeBytes = Buffer.from(place, 'latin1')
  const owned = noting(notes, 'owner', on, () => {
    if (descriptor === undefined) lchownSync(placeBytes, uid, gid)
    else fchownSync(descriptor, uid, gid)
  })
  const acls: Xattr[] = []
  for (const xattr of xattrs) {
    if (isAcl(xattr.name)) acls.push(xattr)
    else noting(notes, 'xattr', on, () => setXattr(place, xattr.name, xattr.value))
  }
  setTimes(place, { modified: modifiedNs })
  for (const acl of acls) noting(notes, 'acl', on, () => setXattr(place, acl.name, acl.value))
  // A set-id program of another owner must not become one of this user.
  const mode = owned ? attributes.mode : attributes.mode & ~setIds
  if (descriptor !== undefined) fchmodSync(descriptor, mode)
  else if (!on.isSymlink) chmodSync(placeBytes, mode)
}

/** Takes away ACLs that a new folder got from the one above it. */
export function dropForeignAcls(place: BinaryString, attributes: Attributes): void {
  for (const name of listXattrs(place)) {
    const wanted = attributes.xattrs.some((xattr) => xattr.name === name)
    if (isAcl(name) && !wanted) removeXattr(place, name)
  }
}

const isAcl = (name: string): boolean => name.startsWith('system.posix_acl_')

/** False, and a note, where this user or this file system cannot. */
function noting(notes: Notes, what: NoteKind, on: Dressed, act: () => void): boolean {
  try {
    act()
    return true
  } catch (error) {
    if (!isSystemError(error, 'EPERM', 'EACCES', 'EINVAL', 'ENOTSUP', 'ENOSYS', 'E2BIG', 'ERANGE')) throw error
    notes.add(what, on.path)
    return false
  }
}
