import { readSync } from 'node:fs'
import { release } from 'node:os'
import { closeDescriptor } from './close.ts'
import { type FanotifyEvent, decodeFanotify, fanotifyMask } from './fanotify-events.ts'
import { filesystemOf } from './filesystem.ts'
import { handleOf } from './handle.ts'
import { cString, libcFunction } from './libc.ts'
import { isSystemError } from '../errors.ts'
import { unlessFailedWith } from './system-call-error.ts'

const groupFlags = {
  closeOnExec: 0x1,
  nonblocking: 0x2,
  classNotification: 0x0,
  unlimitedQueue: 0x10,
  reportObject: 0x200, // FAN_REPORT_FID
  reportDirectory: 0x400, // FAN_REPORT_DIR_FID
  reportName: 0x800,
  reportTarget: 0x1000, // FAN_REPORT_TARGET_FID: created, deleted and renamed entries come with their object
}
const markFlags = { add: 0x1, filesystem: 0x100 }
const currentDirectory = -100 // AT_FDCWD

// DELETE_SELF and MOVE_SELF are left out: `delete` and `rename` tell the same with parent, name and object.
const watched =
  fanotifyMask.create |
  fanotifyMask.delete |
  fanotifyMask.rename |
  fanotifyMask.closeWrite |
  fanotifyMask.modify |
  fanotifyMask.attributes |
  fanotifyMask.onDirectory

const fanotifyInit = libcFunction('fanotify_init', 'int', ['uint32', 'uint32'])
const fanotifyMark = libcFunction('fanotify_mark', 'int', ['int', 'uint32', 'uint64', 'int', 'bytes'])

export interface FanotifyOptions {
  /** Keep every event in kernel memory however slow the reader is; otherwise past 16,384 the rest is lost as an `overflow`. */
  unlimitedQueue: boolean
}

/**
 * A queue of what happens on whole file systems, named by handle and entry name. Needs CAP_SYS_ADMIN and Linux 5.17.
 * Events come from everything on the file system; drop foreign directories by their key. Events are hints: they merge,
 * they tell nothing of stores through mmap until the file is closed, and a file system that is unmounted just falls silent.
 */
export class Fanotify implements Disposable {
  readonly fd: number
  readonly #buffer = Buffer.alloc(256 * 1024)

  constructor(options: FanotifyOptions) {
    const flags =
      groupFlags.closeOnExec |
      groupFlags.nonblocking |
      groupFlags.classNotification |
      groupFlags.reportObject |
      groupFlags.reportDirectory |
      groupFlags.reportName |
      groupFlags.reportTarget |
      (options.unlimitedQueue ? groupFlags.unlimitedQueue : 0)
    this.fd = fanotifyInit([flags, 0]) // no descriptors come with the events, so none need flags
  }

  /** Adds the whole file system that holds `path`. */
  watchFilesystem(path: string): void {
    fanotifyMark([this.fd, markFlags.add | markFlags.filesystem, watched, currentDirectory, cString(path)], path)
  }

  /** What is queued, up to a bufferful; none when nothing is. Never blocks: wait with `waitReadable` on `fd`. */
  read(): FanotifyEvent[] {
    const bytes = unlessFailedWith(['EAGAIN'], 0, () => readSync(this.fd, this.#buffer))
    return decodeFanotify(this.#buffer.subarray(0, bytes))
  }

  [Symbol.dispose](): void {
    closeDescriptor(this.fd)
  }
}

/** Why changes under `path` cannot be followed by `Fanotify`; `undefined` when they can. */
export function fanotifyObstacle(path: string): string | undefined {
  const filesystem = filesystemOf(path)
  if (filesystem.network)
    return `${filesystem.typeName} can change from other machines, and their changes raise no events`
  try {
    using group = new Fanotify({ unlimitedQueue: true })
    try {
      group.watchFilesystem(path)
    } catch (error) {
      return markObstacle(error, filesystem.typeName)
    }
  } catch (error) {
    return groupObstacle(error)
  }
  return unlessFailedWith(['ENOTSUP'], `${filesystem.typeName} has no file handles`, () => {
    handleOf(path, filesystem.fsid)
    return undefined
  })
}

function groupObstacle(error: unknown): string {
  if (isSystemError(error, 'EPERM')) return 'watching whole file systems needs root (CAP_SYS_ADMIN)'
  if (isSystemError(error, 'EINVAL')) return `it needs Linux 5.17, this is ${release()}`
  if (isSystemError(error, 'ENOSYS')) return 'this kernel was built without fanotify'
  if (isSystemError(error, 'EMFILE')) return 'too many fanotify groups; raise fs.fanotify.max_user_groups'
  throw error
}

function markObstacle(error: unknown, typeName: string): string {
  if (isSystemError(error, 'EPERM'))
    return 'watching whole file systems needs root (CAP_SYS_ADMIN) in the first user namespace'
  if (isSystemError(error, 'EINVAL')) return `it needs Linux 5.17, this is ${release()}`
  if (isSystemError(error, 'ENODEV', 'EXDEV'))
    return `${typeName} here has no single identity (fsid) that events could carry`
  if (isSystemError(error, 'ENOTSUP')) return `${typeName} has no file handles`
  if (isSystemError(error, 'ENOSPC')) return 'too many fanotify marks; raise fs.fanotify.max_user_marks'
  throw error
}
