import { chmodSync, closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { isSystemError, TidemarkError } from '../base/errors.ts'
import { type BinaryString, displayName, nameOf, parentOf, rootPath, type TreePath } from '../model/path.ts'

/**
 * The folders of a restore target, each reached from the one above it by an open descriptor and never through a
 * symbolic link: whatever stands in the target, or is put there meanwhile by somebody else, nothing is read or written
 * outside of it. Paths given to system calls are `/proc/self/fd/<descriptor>/<name>`, so they stay short in deep trees.
 *
 * One thread has its own; all share the descriptor of the root, which is not closed here.
 */
export class Folders implements Disposable {
  readonly #root: number
  /** Least recently used first. */
  readonly #open = new Map<TreePath, number>()

  constructor(root: number) {
    this.#root = root
  }

  /** The descriptor of a folder; good until the next call. */
  descriptor(path: TreePath): number {
    if (path === rootPath) return this.#root
    const known = this.#open.get(path)
    if (known !== undefined) {
      this.#open.delete(path)
      this.#open.set(path, known)
      return known
    }
    const opened = this.#walkDown(path)
    while (this.#open.size > openFoldersMax) this.#closeOldest()
    return opened
  }

  /** The path of `path` for a system call that does not follow a symbolic link at its end; good until the next call. */
  place(path: TreePath): Buffer {
    return Buffer.from(this.placeText(path), 'latin1')
  }

  placeText(path: TreePath): BinaryString {
    if (path === rootPath) return `/proc/self/fd/${this.#root}/.` as BinaryString
    return `/proc/self/fd/${this.descriptor(parentOf(path))}/${nameOf(path)}` as BinaryString
  }

  /** Makes the folder, or finds it, open to its owner only. The folder above it must be there. */
  make(path: TreePath): void {
    if (path === rootPath) return
    try {
      mkdirSync(this.place(path), { mode: ownerOnly })
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw error
      // An earlier run may have given it its own mode already.
      const found = openFolder(this.descriptor(parentOf(path)), path, pathOnly)
      chmodSync(`/proc/self/fd/${found}`, ownerOnly)
      closeSync(found)
    }
  }

  #walkDown(path: TreePath): number {
    const missing: TreePath[] = []
    let above = path
    while (above !== rootPath && !this.#open.has(above)) {
      missing.push(above)
      above = parentOf(above)
    }
    let descriptor = above === rootPath ? this.#root : (this.#open.get(above) as number)
    for (const folder of missing.reverse()) {
      descriptor = openFolder(descriptor, folder)
      this.#open.set(folder, descriptor)
    }
    return descriptor
  }

  #closeOldest(): void {
    const [oldest] = this.#open
    if (oldest === undefined) return
    closeSync(oldest[1])
    this.#open.delete(oldest[0])
  }

  [Symbol.dispose](): void {
    while (this.#open.size > 0) this.#closeOldest()
  }
}

const openFoldersMax = 64
const ownerOnly = 0o700
/** O_PATH: needs no permission on what is opened. */
const pathOnly = 0o10000000

function openFolder(parent: number, path: TreePath, how: number = constants.O_RDONLY): number {
  const place = Buffer.from(`/proc/self/fd/${parent}/${nameOf(path)}`, 'latin1')
  try {
    return openSync(place, how | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  } catch (error) {
    if (!isSystemError(error, 'ENOTDIR', 'ELOOP')) throw error
    throw new TidemarkError('target-not-empty', {
      message: `"${displayName(path)}" in the target is not a directory any more; nothing was written through it`,
      hint: 'see what else writes to the target, then restore into an empty directory',
      cause: error,
    })
  }
}
