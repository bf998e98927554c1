import { close, constants, fdatasync, fstatSync, fsync, ftruncate, open, renameSync, writevSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { isSystemError, TidemarkError } from '../../../base/errors.ts'
import { syncFolder } from '../../../base/sync-folder.ts'
import { readNow } from '../../../base/syscalls/read-now.ts'
import { dataRanges, endOf, reserveSpace } from '../../../base/syscalls/sparse.ts'
import { parseSegmentName } from '../../../format/volume-log.ts'
import { ApplyThread } from './apply-thread.ts'
import type { Backing, LogFile, LogFolder, VolumeFiles } from './files.ts'
import { openUnlessGone, readAt } from './log-folder.ts'
import { readPlace } from './place.ts'

const opened = promisify(open)
const closed = promisify(close)
const dataSynced = promisify(fdatasync)
const synced = promisify(fsync)
const cut = promisify(ftruncate)

const fileMode = 0o600
const folderMode = 0o700
/** The system takes at most this many parts in one write. */
const partsMax = 1024
/** Where room cannot be set aside, zeros are written so much at a time. */
const zerosBytes = 1024 ** 2

export interface NodeVolumeFilesParts {
  /** Made where it is not there. */
  readonly logFolder: string
  /**
   * A block device, or a file, which is made or grown where `bytes` asks for it. One that is gone or cut short is not: zeros in
   * its place, as where its file system is not mounted, would be served as the volume.
   */
  readonly backing: string
  readonly bytes?: number | undefined
}

export interface NodeVolumeFiles extends VolumeFiles, AsyncDisposable {
  /** How large the backing is now; `damaged` where it has shrunk. */
  look(): number
  /** It is no smaller than this from now on, also after a power cut. */
  grown(bytes: number): Promise<void>
}

/** The disks of this machine. */
export async function nodeVolumeFiles(parts: NodeVolumeFilesParts): Promise<NodeVolumeFiles> {
  await makeFolder(resolve(parts.logFolder))
  const log = new NodeLogFolder(parts.logFolder)
  const backing = await openBacking(parts, await bytesHad(log))
  return {
    log,
    backing,
    look: () => backing.look(),
    grown: (size) => backing.grown(size),
    [Symbol.asyncDispose]: () => backing[Symbol.asyncDispose](),
  }
}

class NodeLogFolder implements LogFolder {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  names(): Promise<readonly string[]> {
    return readdir(this.#folder)
  }

  async create(name: string, bytes: number): Promise<LogFile> {
    const path = join(this.#folder, name)
    const fd = await opened(path, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC, fileMode)
    try {
      if (!reserveSpace(fd, 0, bytes)) await writeZeros(fd, bytes)
      await cut(fd, bytes)
      return new NodeLogFile(fd, bytes)
    } catch (error) {
      await closed(fd)
      await rm(path, { force: true })
      throw error
    }
  }

  async open(name: string): Promise<LogFile | undefined> {
    const fd = await openUnlessGone(join(this.#folder, name), constants.O_RDWR)
    return fd === undefined ? undefined : new NodeLogFile(fd, fstatSync(fd).size)
  }

  rename(from: string, to: string): void {
    renameSync(join(this.#folder, from), join(this.#folder, to))
  }

  remove(name: string): Promise<void> {
    return rm(join(this.#folder, name), { force: true })
  }

  async syncNames(): Promise<void> {
    const fd = await opened(this.#folder, constants.O_RDONLY)
    try {
      await synced(fd)
    } finally {
      await closed(fd)
    }
  }
}

class NodeLogFile implements LogFile {
  readonly fd: number
  readonly bytes: number

  constructor(fd: number, bytes: number) {
    this.fd = fd
    this.bytes = bytes
  }

  write(parts: readonly Uint8Array[], at: number): number {
    let position = at
    try {
      for (let rest = parts; rest.length > 0;) {
        const written = writevSync(this.fd, rest.slice(0, partsMax), position)
        position += written
        rest = withoutFirst(rest, written)
      }
    } catch (error) {
      if (!isSystemError(error, 'ENOSPC', 'EDQUOT')) throw error
    }
    return position - at
  }

  read(into: Buffer, at: number): Promise<number> {
    return readAt(this.fd, into, at)
  }

  readNow(into: Buffer, at: number): boolean {
    return readNow(this.fd, into, at)
  }

  sync(): Promise<void> {
    return dataSynced(this.fd)
  }

  close(): Promise<void> {
    return closed(this.fd)
  }
}

/** What it was when it was opened, or more. One that has shrunk since is `damaged`: a write would make it grow again, and zeros pass for the volume. */
class NodeBacking implements Backing, AsyncDisposable {
  #bytes: number
  readonly #path: string
  readonly #fd: number
  readonly #thread: ApplyThread

  constructor(path: string, fd: number, bytes: number) {
    this.#path = path
    this.#fd = fd
    this.#bytes = bytes
    this.#thread = new ApplyThread(fd)
  }

  get bytes(): number {
    return this.#bytes
  }

  /** How large it is now. */
  look(): number {
    const now = sizeOf(this.#fd)
    if (now < this.#bytes) throw shrunk(this.#path, now, this.#bytes)
    return now
  }

  /** By a descriptor of its own: what it may learn of writes that failed is for the syncs of what is written. */
  async grown(bytes: number): Promise<void> {
    const fd = await opened(`/proc/self/fd/${this.#fd}`, constants.O_RDONLY)
    try {
      await synced(fd)
    } finally {
      await closed(fd)
    }
    this.#bytes = bytes
  }

  async read(into: Buffer, at: number): Promise<void> {
    for (let filled = 0; filled < into.length;) {
      const count = await readAt(this.#fd, into.subarray(filled), at + filled)
      if (count === 0) throw shrunk(this.#path, at + filled, this.bytes)
      filled += count
    }
  }

  readNow(into: Buffer, at: number): boolean {
    return readNow(this.#fd, into, at)
  }

  async apply(steps: Parameters<Backing['apply']>[0]): Promise<void> {
    this.look()
    await this.#thread.apply(
      steps.map((step) => {
        if (step.kind === 'zero') return { from: -1, position: 0, at: step.at, bytes: step.bytes }
        if (!(step.from instanceof NodeLogFile)) throw new TypeError('a step is of these files')
        return { from: step.from.fd, position: step.position, at: step.at, bytes: step.bytes }
      }),
    )
  }

  async sync(): Promise<void> {
    await dataSynced(this.#fd)
    this.look()
  }

  dataRanges(at: number, bytes: number): { at: number; bytes: number }[] {
    const ranges: { at: number; bytes: number }[] = []
    for (const { start, end } of dataRanges(this.#fd, at + bytes, at)) ranges.push({ at: start, bytes: end - start })
    // Behind the end of a file everything is a hole.
    this.look()
    return ranges
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread[Symbol.asyncDispose]()
    await closed(this.#fd)
  }
}

/** Durably, with those above it that are not there. */
async function makeFolder(path: string): Promise<void> {
  const made = await mkdir(path, { recursive: true, mode: folderMode })
  if (made === undefined) return
  for (let folder = path; folder.length >= made.length; folder = dirname(folder)) syncFolder(dirname(folder))
}

/** The size of the volume; 0 of a new one, undefined where it is not known any more. */
async function bytesHad(log: LogFolder): Promise<number | undefined> {
  const place = await readPlace(log)
  if (place !== undefined) return place.bytes
  return (await log.names()).some((name) => parseSegmentName(name) !== undefined) ? undefined : 0
}

async function openBacking({ backing, bytes }: NodeVolumeFilesParts, had: number | undefined): Promise<NodeBacking> {
  const fd = await openFile(backing, had === 0 ? bytes : undefined)
  try {
    const facts = fstatSync(fd)
    if (!facts.isFile() && !facts.isBlockDevice()) throw unusable(backing, 'it is no block device and no file')
    const size = sizeOf(fd)
    const mayGrow = had !== undefined
    if (mayGrow && size < had) throw shrunk(backing, size, had)
    if (mayGrow && bytes !== undefined && size < bytes && facts.isFile()) {
      await cut(fd, bytes)
      await synced(fd)
      // It may have been made just now.
      syncFolder(dirname(backing))
    }
    const grown = sizeOf(fd)
    if (grown === 0) throw unusable(backing, 'it is empty; say how large the volume is to be')
    return new NodeBacking(backing, fd, grown)
  } catch (error) {
    await closed(fd)
    throw error
  }
}

function sizeOf(fd: number): number {
  const facts = fstatSync(fd)
  return facts.isBlockDevice() ? endOf(fd) : facts.size
}

async function openFile(backing: string, bytes: number | undefined): Promise<number> {
  const fd = await openUnlessGone(backing, constants.O_RDWR)
  if (fd !== undefined) return fd
  if (bytes === undefined) throw unusable(backing, 'it is not there')
  return await opened(backing, constants.O_RDWR | constants.O_CREAT, fileMode)
}

const shrunk = (backing: string, bytes: number, had: number): TidemarkError =>
  new TidemarkError('damaged', {
    message: `the backing ${backing} has ${bytes} bytes, and had ${had}: nothing is served or written`,
    hint: 'a volume never shrinks: if the device or file system is only partly there, bring it back; else "tidemark unprotect", restore the volume from the vault, and protect it anew',
  })

const unusable = (backing: string, why: string): TidemarkError =>
  new TidemarkError('not-found', {
    message: `${backing} cannot hold a volume: ${why}`,
    hint: 'see whether its file system is mounted and its device is there; what the volume held can be restored from the vault',
  })

async function writeZeros(fd: number, bytes: number): Promise<void> {
  const zeros = Buffer.alloc(zerosBytes)
  for (let at = 0; at < bytes;) at += writevSync(fd, [zeros.subarray(0, Math.min(zerosBytes, bytes - at))], at)
}

function withoutFirst(parts: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let left = count
  for (const [index, part] of parts.entries()) {
    if (left < part.length) return [part.subarray(left), ...parts.slice(index + 1)]
    left -= part.length
  }
  return []
}
