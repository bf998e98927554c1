import { Fanotify } from '../../base/syscalls/fanotify.ts'
import { type FanotifyEvent, fanotifyMask } from '../../base/syscalls/fanotify-events.ts'
import type { HandleKey } from '../../base/syscalls/handle.ts'
import { identityIn } from './handle-identity.ts'
import type { NodeId } from './catalog-tree.ts'
import { reason } from './dirty-set.ts'
import type { Look } from './filesystems.ts'
import type { AbsolutePath } from './stat.ts'
import type { Displaced, Noticed, Watch } from './watch.ts'

/**
 * Whole file systems, by fanotify. Events of directories that are not followed are dropped; those from before `follow`
 * are not missed, since the directory is listed after it.
 */
export class FanotifyWatch implements Watch {
  readonly name = 'fanotify'
  readonly #group: Fanotify
  readonly #directories = new Map<HandleKey, NodeId>()
  readonly #handles = new Map<NodeId, HandleKey>()

  readonly #displaced: Displaced

  constructor({ unlimitedQueue, displaced }: { unlimitedQueue: boolean; displaced: Displaced }) {
    this.#group = new Fanotify({ unlimitedQueue })
    this.#displaced = displaced
  }

  get fd(): number {
    return this.#group.fd
  }

  /** Has to be called for a file system before a directory on it is followed. */
  addFilesystem(path: AbsolutePath): void {
    this.#group.watchFilesystem(path)
  }

  follow(directory: NodeId, _path: AbsolutePath, { handle }: Look): boolean {
    if (handle === undefined) return false
    this.forget(directory)
    const other = this.#directories.get(handle)
    if (other !== undefined) this.#displaced(other)
    this.#directories.set(handle, directory)
    this.#handles.set(directory, handle)
    return true
  }

  forget(directory: NodeId): void {
    const handle = this.#handles.get(directory)
    if (handle === undefined) return
    this.#handles.delete(directory)
    if (this.#directories.get(handle) === directory) this.#directories.delete(handle)
  }

  hear(noticed: Noticed): void {
    for (const event of this.#group.read()) this.#tell(event, noticed)
  }

  #tell(event: FanotifyEvent, noticed: Noticed): void {
    switch (event.kind) {
      case 'overflow':
        return noticed.lost()
      case 'object': {
        const { inode } = identityIn(event.object)
        return inode === undefined ? undefined : noticed.inode(inode, reasonsOf(event.mask))
      }
      case 'entry': {
        const directory = this.#directories.get(event.directory)
        if (directory === undefined) return
        if (event.name === '.') return noticed.directory(directory)
        const reasons = reasonsOf(event.mask)
        const written = (reasons & reason.content) === 0 ? undefined : event.object
        const inode = written && identityIn(written).inode
        return noticed.entry(directory, event.name, reasons, isClosed(event.mask), inode)
      }
      case 'rename': {
        const from = this.#directories.get(event.from.directory)
        const to = this.#directories.get(event.to.directory)
        if (from !== undefined && to !== undefined) {
          return noticed.moved({ directory: from, name: event.from.name }, { directory: to, name: event.to.name })
        }
        if (from !== undefined) noticed.entry(from, event.from.name, reason.entry, true)
        if (to !== undefined) noticed.entry(to, event.to.name, reason.entry | reason.content | reason.below, true)
        return
      }
    }
  }

  [Symbol.dispose](): void {
    this.#group[Symbol.dispose]()
  }
}

function reasonsOf(mask: number): number {
  let reasons = 0
  if ((mask & (fanotifyMask.modify | fanotifyMask.closeWrite)) !== 0) reasons |= reason.content
  if ((mask & fanotifyMask.attributes) !== 0) reasons |= reason.attributes
  if ((mask & (fanotifyMask.create | fanotifyMask.delete)) !== 0) reasons |= reason.entry
  return reasons
}

/** A file that was made or written, and not closed since, is likely to be written further. */
function isClosed(mask: number): boolean {
  if ((mask & fanotifyMask.onDirectory) !== 0 || (mask & fanotifyMask.closeWrite) !== 0) return true
  return (mask & (fanotifyMask.modify | fanotifyMask.create)) === 0
}
