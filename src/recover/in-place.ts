import { type BigIntStats, lstatSync } from 'node:fs'
import { isSystemError } from '../base/errors.ts'
import type { Attributes } from '../model/change.ts'
import type { TreePath } from '../model/path.ts'
import type { Folders } from './folders.ts'
import type { Entry } from './groups.ts'

/**
 * What of a group that the log calls done is not there any more. Only what is whole and checked gets its place, so
 * size and modification time tell.
 */
export function missingOf(entries: readonly Entry[], folders: Folders, begun: ReadonlySet<number>): Entry[] {
  return entries.filter((entry) => {
    switch (entry.kind) {
      case 'file':
        return !isFileInPlace(folders, entry)
      case 'node':
        return statOf(folders, entry.path)?.mtimeNs !== entry.attributes.modifiedNs
      case 'piece':
        return !begun.has(entry.file) && statOf(folders, entry.path) === undefined
    }
  })
}

export function isFileInPlace(
  folders: Folders,
  file: { path: TreePath; attributes: Attributes; bytes: number },
): boolean {
  const stat = statOf(folders, file.path)
  return stat?.isFile() === true && stat.size === BigInt(file.bytes) && stat.mtimeNs === file.attributes.modifiedNs
}

function statOf(folders: Folders, path: TreePath): BigIntStats | undefined {
  try {
    return lstatSync(folders.place(path), { bigint: true, throwIfNoEntry: false })
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}
