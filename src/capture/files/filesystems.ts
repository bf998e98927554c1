import type { BigIntStats } from 'node:fs'
import { hash } from 'node:crypto'
import { type Fsid, filesystemOf } from '../../base/syscalls/filesystem.ts'
import { handleHeaderBytes, type HandleKey, handleOf } from '../../base/syscalls/handle.ts'
import { unlessFailedWith } from '../../base/syscalls/system-call-error.ts'
import type { Catalog } from './catalog.ts'
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

/** Views of the kernel, not data: recorded as empty directories where they are mounted below a protected path. */
const virtualTypes = new Set(['proc', 'sysfs', '0x27e0eb', '0x63677270', '0x1cd1', '0x64626720', '0x74726163'])

/**
 * Looks at names, and knows the file systems met on the way. Device numbers may change between boots and mounts, so the
 * catalog's number of a file system follows its own identity (fsid) where it has one.
 */
export class Filesystems {
  readonly #catalog: Catalog
  readonly #byDevice = new Map<bigint, Mounted>()
  /** Called before anything on a file system is followed. */
  readonly #found: (mounted: Mounted, path: AbsolutePath) => void

  constructor(catalog: Catalog, found: (mounted: Mounted, path: AbsolutePath) => void) {
    this.#catalog = catalog
    this.#found = found
  }

  look(path: AbsolutePath): Look | undefined {
    return this.#lookWith(path, statOf(path))
  }

  /** The same of what symbolic links lead to: a protected path may be one. */
  lookThrough(path: AbsolutePath): Look | undefined {
    return this.#lookWith(path, statThrough(path))
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

  #lookWith(path: AbsolutePath, from: BigIntStats | undefined): Look | undefined {
    if (from === undefined) return undefined
    const mounted = this.#mounted(from.dev, path)
    const handle = from.isDirectory() ? handleIfAny(path, mounted.fsid) : undefined
    const generation = handle === undefined ? (from.isDirectory() ? from.birthtimeNs : 0n) : generationOf(handle)
    return {
      stat: packStat(from, mounted.number, generation),
      links: Number(from.nlink),
      isSparse: from.blocks * blockBytes < from.size,
      handle,
    }
  }

  #mounted(device: bigint, path: AbsolutePath): Mounted {
    const known = this.#byDevice.get(device)
    if (known !== undefined) return known
    const { fsid, typeName, network } = filesystemOf(path)
    const number = this.#catalog.filesystemNumber(fsid === noFsid ? `device ${device}` : fsid)
    const mounted = { number, fsid, typeName, network }
    this.#byDevice.set(device, mounted)
    this.#found(mounted, path)
    return mounted
  }
}

function handleIfAny(path: AbsolutePath, fsid: Fsid): HandleKey | undefined {
  return unlessFailedWith(['ENOTSUP', 'ENOENT', 'ENOTDIR', 'EACCES'], undefined, () => handleOf(path, fsid))
}

const inode32 = 1
const inode64 = 0x81

/** What tells a directory from an earlier one with the same inode, out of the kernel's handle (linux/exportfs.h). */
function generationOf(handle: HandleKey): bigint {
  const bytes = Buffer.from(handle, 'latin1').subarray(fsidBytes)
  const type = bytes.readUInt32LE(4)
  const id = bytes.subarray(handleHeaderBytes)
  if (type === inode32 && id.length >= 8) return BigInt(id.readUInt32LE(4))
  if (type === inode64 && id.length >= 12) return BigInt(id.readUInt32LE(8))
  return hash('sha256', id, 'buffer').readBigUInt64LE(0)
}
