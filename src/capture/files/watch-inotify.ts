import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { isSystemError } from '../../base/errors.ts'
import { Inotify } from '../../base/syscalls/inotify.ts'
import { type InotifyEvent, inotifyMask } from '../../base/syscalls/inotify-events.ts'
import type { NodeId } from './catalog-tree.ts'
import { reason } from './dirty-set.ts'
import type { Look } from './filesystems.ts'
import { type AbsolutePath, inodeOf, systemPath } from './stat.ts'
import type { Displaced, Noticed, Watch } from './watch.ts'

/**
 * Every directory by itself, by inotify: for users who are not root and file systems that fanotify cannot follow. A
 * watch stays with its directory through renames.
 */
export class InotifyWatch implements Watch {
  readonly name = 'inotify'
  readonly #inotify = new Inotify()
  readonly #directories = new Map<number, NodeId>()
  readonly #watches = new Map<NodeId, number>()
  /** First half of a rename whose second half has not been read yet. */
  #leaving: { cookie: number; directory: NodeId; name: string } | undefined
  /** Called once each time the limit of watches is met. */
  readonly #limitReached: () => void
  readonly #displaced: Displaced

  constructor({ limitReached, displaced }: { limitReached: () => void; displaced: Displaced }) {
    this.#limitReached = limitReached
    this.#displaced = displaced
  }

  get fd(): number {
    return this.#inotify.fd
  }

  follow(directory: NodeId, path: AbsolutePath, look: Look): boolean {
    const watch = this.#watch(path, look)
    if (watch === undefined) return false
    const before = this.#watches.get(directory)
    if (before !== undefined && before !== watch) this.#directories.delete(before)
    const other = this.#directories.get(watch)
    if (other !== undefined && other !== directory) this.#displaced(other)
    this.#directories.set(watch, directory)
    this.#watches.set(directory, watch)
    return true
  }

  /** Through an open descriptor, so that it is the directory that was looked at and no other that came in its place. */
  #watch(path: AbsolutePath, look: Look): number | undefined {
    let fd: number | undefined
    try {
      fd = openSync(systemPath(path), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NONBLOCK)
      if (fstatSync(fd, { bigint: true }).ino !== inodeOf(look.stat)) return undefined
      return this.#inotify.watchDirectory(`/proc/self/fd/${fd}/.`)
    } catch (error) {
      if (isSystemError(error, 'ENOSPC')) this.#limitReached()
      else if (!isSystemError(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP')) throw error
      return undefined
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
  }

  forget(directory: NodeId): void {
    const watch = this.#watches.get(directory)
    if (watch === undefined) return
    this.#watches.delete(directory)
    if (this.#directories.get(watch) !== directory) return
    this.#directories.delete(watch)
    this.#inotify.unwatch(watch)
  }

  hear(noticed: Noticed): void {
    for (const event of this.#inotify.read()) this.#tell(event, noticed)
  }

  /** The queue is empty: no second half of a rename is still to come. */
  heardAll(noticed: Noticed): void {
    this.#left(noticed)
  }

  #tell(event: InotifyEvent, noticed: Noticed): void {
    if (event.kind === 'overflow') return noticed.lost()
    const directory = this.#directories.get(event.watch)
    if (event.kind === 'ignored') {
      if (directory === undefined) return
      this.#directories.delete(event.watch)
      if (this.#watches.get(directory) === event.watch) this.#watches.delete(directory)
      return
    }
    const leaving = this.#leaving
    if (leaving !== undefined && (event.mask & inotifyMask.movedTo) !== 0 && event.cookie === leaving.cookie) {
      this.#leaving = undefined
      if (directory === undefined || event.name === undefined) {
        return noticed.entry(leaving.directory, leaving.name, reason.entry, true)
      }
      return noticed.moved(leaving, { directory, name: event.name })
    }
    this.#left(noticed)
    if (directory === undefined) return
    if (event.name === undefined) return noticed.directory(directory)
    if ((event.mask & inotifyMask.movedFrom) !== 0) {
      this.#leaving = { cookie: event.cookie, directory, name: event.name }
      return
    }
    noticed.entry(directory, event.name, reasonsOf(event.mask), isClosed(event.mask))
  }

  /** What left without arriving anywhere we watch has left the tree. */
  #left(noticed: Noticed): void {
    if (this.#leaving === undefined) return
    noticed.entry(this.#leaving.directory, this.#leaving.name, reason.entry, true)
    this.#leaving = undefined
  }

  [Symbol.dispose](): void {
    this.#inotify[Symbol.dispose]()
  }
}

function reasonsOf(mask: number): number {
  let reasons = 0
  if ((mask & (inotifyMask.modify | inotifyMask.closeWrite)) !== 0) reasons |= reason.content
  if ((mask & inotifyMask.attributes) !== 0) reasons |= reason.attributes
  if ((mask & (inotifyMask.create | inotifyMask.delete)) !== 0) reasons |= reason.entry
  if ((mask & inotifyMask.movedTo) !== 0) reasons |= reason.entry | reason.content | reason.below
  return reasons
}

function isClosed(mask: number): boolean {
  if ((mask & inotifyMask.onDirectory) !== 0 || (mask & inotifyMask.closeWrite) !== 0) return true
  return (mask & (inotifyMask.modify | inotifyMask.create)) === 0
}
