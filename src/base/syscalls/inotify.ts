import { readSync } from 'node:fs'
import { constants } from 'node:os'
import { closeDescriptor } from './close.ts'
import { type InotifyEvent, decodeInotify, inotifyMask } from './inotify-events.ts'
import { cString, libcFunction } from './libc.ts'
import { SystemCallError, unlessFailedWith } from './system-call-error.ts'

const nonblocking = 0x800 // IN_NONBLOCK
const closeOnExec = 0x80000 // IN_CLOEXEC

const watchFlags = {
  onlyDirectory: 0x0100_0000, // IN_ONLYDIR
  dontFollow: 0x0200_0000, // IN_DONT_FOLLOW
  excludeUnlinked: 0x0400_0000, // IN_EXCL_UNLINK: a file without a name is no longer part of the tree
}

const watched =
  inotifyMask.create |
  inotifyMask.delete |
  inotifyMask.movedFrom |
  inotifyMask.movedTo |
  inotifyMask.closeWrite |
  inotifyMask.modify |
  inotifyMask.attributes |
  inotifyMask.deleteSelf |
  inotifyMask.moveSelf |
  watchFlags.onlyDirectory |
  watchFlags.dontFollow |
  watchFlags.excludeUnlinked

const inotifyInit = libcFunction('inotify_init1', 'int', ['int'])
const inotifyAddWatch = libcFunction('inotify_add_watch', 'int', ['int', 'bytes', 'uint32'])
const inotifyRemoveWatch = libcFunction('inotify_rm_watch', 'int', ['int', 'int'])

/**
 * A queue of what happens to the entries of single directories, for where `Fanotify` cannot be had. A watch knows
 * nothing of directories below: add a watch to a new or moved-in directory first, and list it afterwards.
 */
export class Inotify implements Disposable {
  readonly fd: number
  readonly #buffer = Buffer.alloc(64 * 1024)

  constructor() {
    try {
      this.fd = inotifyInit([nonblocking | closeOnExec])
    } catch (error) {
      throw withHint(error, 'EMFILE', 'raise fs.inotify.max_user_instances')
    }
  }

  /** Watches one directory and returns the watch's number: the same again for a directory already watched, under any path. */
  watchDirectory(path: string): number {
    try {
      return inotifyAddWatch([this.fd, cString(path), watched], path)
    } catch (error) {
      throw withHint(error, 'ENOSPC', 'raise fs.inotify.max_user_watches')
    }
  }

  /** An `ignored` event confirms it. False when the watch had already gone, with its directory. */
  unwatch(watch: number): boolean {
    return unlessFailedWith(['EINVAL'], false, () => {
      inotifyRemoveWatch([this.fd, watch])
      return true
    })
  }

  /** What is queued, up to a bufferful; none when nothing is. Never blocks: wait with `waitReadable` on `fd`. */
  read(): InotifyEvent[] {
    const bytes = unlessFailedWith(['EAGAIN'], 0, () => readSync(this.fd, this.#buffer))
    return decodeInotify(this.#buffer.subarray(0, bytes))
  }

  [Symbol.dispose](): void {
    closeDescriptor(this.fd)
  }
}

function withHint(error: unknown, code: 'EMFILE' | 'ENOSPC', hint: string): unknown {
  if (!(error instanceof SystemCallError) || error.code !== code) return error
  return new SystemCallError(constants.errno[code], error.syscall, error.path, hint)
}
