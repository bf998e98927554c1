import type { BigIntStats } from 'node:fs'
import { type Fsid, filesystemOf } from '../../base/syscalls/filesystem.ts'
import { type HandleKey, handleOf } from '../../base/syscalls/handle.ts'
import { unlessFailedWith } from '../../base/syscalls/system-call-error.ts'
import type { FilesystemNumbers } from './filesystem-numbers.ts'
import { identityIn } from './handle-identity.ts'
import { type AbsolutePath, filesystemNumberOf, inodeOf, packStat, type Stat, statOf, statThrough } from './stat.ts'

/** What stands under a name now. */
export interface Look {
  readonly stat: Stat
  /** More than one where the node has other names. */
  readonly links: number
  /** Fewer bytes are kept on disk than the size says. */
  readonly isSparse: boolean
  /** Of a directory, where its file system has handles. */
  readonly handle: HandleKey | undefined
}

export interface Mounted {
  readonly number: number
  readonly fsid: Fsid
  readonly typeName: string
  readonly network: boolean
}

const fsidBytes = 8
const noFsid = '\0'.repeat(fsidBytes)
const blockBytes = 512n
/** In a directory that is being replaced all the time. */
const lookTriesMax = 10

/** Views of the kernel, not data: recorded as empty directories where they are mounted below a protected path. */
const virtualTypes = new Set(['proc', 'sysfs', '0x27e0eb', '0x63677270', '0x1cd1', '0x64626720', '0x74726163'])

/**
 * Looks at names, and knows the file systems met on the way. Device numbers may change between boots and mounts, so the
 * catalog's number of a file system follows its own identity (fsid) where it has one.
 */
export class Filesystems {
  readonly #numbers: FilesystemNumbers
  readonly #byDevice = new Map<bigint, Mounted>()
  /** Called before anything on a file system is followed. */
  readonly #found: (mounted: Mounted, path: AbsolutePath) => void

  constructor(numbers: FilesystemNumbers, found: (mounted: Mounted, path: AbsolutePath) => void) {
    this.#numbers = numbers
    this.#found = found
  }

  look(path: AbsolutePath): Look | undefined {
    return this.#look(path, path, statOf)
  }

  /** The same of what symbolic links lead to: a protected path may be one. */
  lookThrough(path: AbsolutePath): Look | undefined {
    return this.#look(path, `${path}/.` as AbsolutePath, statThrough)
  }

  /** Whether a directory is still under this path: asked often, so of its generation nothing is asked. */
  isAt(path: AbsolutePath, stat: Stat, through: boolean): boolean {
    const from = through ? statThrough(path) : statOf(path)
    if (from === undefined || from.ino !== inodeOf(stat) || !from.isDirectory()) return false
    return this.#mounted(from.dev, path).number === filesystemNumberOf(stat)
  }

  /** The stat of an open file, comparable with that of a look. */
  pack(from: BigIntStats, path: AbsolutePath): Stat {
    return packStat(from, this.#mounted(from.dev, path).number, 0n)
  }

  byNumber(number: number): Mounted | undefined {
    for (const mounted of this.#byDevice.values()) if (mounted.number === number) return mounted
    return undefined
  }

  isVirtual(look: Look): boolean {
    const mounted = this.byNumber(filesystemNumberOf(look.stat))
    return mounted !== undefined && virtualTypes.has(mounted.typeName)
  }

  /** What is mounted may have changed: device numbers mean nothing any more. */
  forgetDevices(): void {
    this.#byDevice.clear()
  }

  /** Two calls are needed for a directory: they are made again where they met different ones. */
  #look(path: AbsolutePath, handlePath: AbsolutePath, statAt: typeof statOf): Look | undefined {
    for (let tries = 0; tries < lookTriesMax; tries++) {
      const from = statAt(path)
      if (from === undefined) return undefined
      const mounted = this.#mounted(from.dev, path)
      if (!from.isDirectory()) return lookOf(from, mounted, 0n, undefined)
      const handle = handleAt(handlePath, mounted.fsid)
      if (handle === 'none') return lookOf(from, mounted, from.birthtimeNs, undefined)
      if (handle === 'gone') continue
      const { inode, generation } = identityIn(handle)
      if (inode === undefined || inode === from.ino) return lookOf(from, mounted, generation, handle)
    }
    return undefined
  }

  #mounted(device: bigint, path: AbsolutePath): Mounted {
    const known = this.#byDevice.get(device)
    if (known !== undefined) return known
    const { fsid, typeName, network } = filesystemOf(path)
    const number = this.#numbers.of(fsid === noFsid ? `device ${device}` : fsid)
    const mounted = { number, fsid, typeName, network }
    this.#byDevice.set(device, mounted)
    this.#found(mounted, path)
    return mounted
  }
}

const lookOf = (from: BigIntStats, mounted: Mounted, generation: bigint, handle: HandleKey | undefined): Look => ({
  stat: packStat(from, mounted.number, generation),
  links: Number(from.nlink),
  isSparse: from.blocks * blockBytes < from.size,
  handle,
})

function handleAt(path: AbsolutePath, fsid: Fsid): HandleKey | 'none' | 'gone' {
  return unlessFailedWith(['ENOENT', 'ENOTDIR'], 'gone', () =>
    unlessFailedWith(['ENOTSUP', 'EACCES'], 'none', () => handleOf(path, fsid)),
  )
}
