import { close, closeSync, constants, fdatasync, fsync, ftruncate, open, openSync, read, writev } from 'node:fs'
import { mkdir, readdir, rename, rm, stat, statfs } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { promisify } from 'node:util'
import { isSystemError, TidemarkError } from '../base/errors.ts'
import { checkName, type GrowingFile, replacingSuffix, type Store, type StoredFile, type StoreName } from './store.ts'

const fileMode = 0o600
const folderMode = 0o700
/** The system takes at most this many parts in one write. */
const partsMax = 1024

const opened = promisify(open)
const closed = promisify(close)
const dataSynced = promisify(fdatasync)
const synced = promisify(fsync)
const cut = promisify(ftruncate)

/**
 * A store in a directory of the file system, which is made if it is not there. Files belong to this user alone.
 * Directories made on the way are durable from the first `sync` or `replace` in them.
 */
export async function directoryStore(root: string): Promise<Store> {
  const path = resolve(root)
  const made = await mkdir(path, { recursive: true, mode: folderMode })
  if (made !== undefined) await syncFolders(dirname(made), path)
  return new DirectoryStore(path)
}

class DirectoryStore implements Store {
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  async create(name: StoreName): Promise<GrowingFile> {
    const path = this.#path(name)
    await this.#makeFolder(path)
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
    const fd = await told('create', name, () => opened(path, flags, fileMode))
    return new DirectoryFile(name, fd, 0, () => this.#syncFolderOf(path))
  }

  async extend(name: StoreName): Promise<GrowingFile> {
    const path = this.#path(name)
    const fd = await told('extend', name, () => opened(path, constants.O_WRONLY))
    const { size } = await stat(path)
    return new DirectoryFile(name, fd, size, () => this.#syncFolderOf(path))
  }

  async read(name: StoreName, at: number, bytes: number): Promise<Buffer> {
    const path = this.#path(name)
    // Opening and closing takes some microseconds; a trip through the thread pool each would take a hundred.
    const fd = await told('read', name, async () => openSync(path, constants.O_RDONLY))
    try {
      const buffer = Buffer.allocUnsafe(bytes)
      let filled = 0
      while (filled < bytes) {
        const count = await readInto(fd, buffer, filled, at + filled)
        if (count === 0) break
        filled += count
      }
      return buffer.subarray(0, filled)
    } finally {
      closeSync(fd)
    }
  }

  async size(name: StoreName): Promise<number> {
    return (await told('measure', name, () => stat(this.#path(name)))).size
  }

  async list(folder: string): Promise<StoredFile[]> {
    const root = folder === '' ? this.#root : this.#path(folder)
    const names = await namesBelow(root, folder === '' ? '' : `${folder}/`)
    const files: StoredFile[] = []
    for (const name of names.sort()) {
      const bytes = await sizeUnlessGone(join(this.#root, name))
      if (bytes !== undefined) files.push({ name, bytes })
    }
    return files
  }

  async truncate(name: StoreName, bytes: number): Promise<void> {
    await told('truncate', name, async () => {
      const fd = await opened(this.#path(name), constants.O_WRONLY)
      try {
        await cut(fd, bytes)
        await synced(fd)
      } finally {
        await closed(fd)
      }
    })
  }

  async replace(name: StoreName, bytes: Uint8Array): Promise<void> {
    const path = this.#path(name)
    await this.#makeFolder(path)
    await told('replace', name, async () => {
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC
      const fd = await opened(path + replacingSuffix, flags, fileMode)
      try {
        await writeAll(fd, [bytes], 0)
        await synced(fd)
      } finally {
        await closed(fd)
      }
      await rename(path + replacingSuffix, path)
      await this.#syncFolderOf(path)
    })
  }

  async remove(name: StoreName): Promise<void> {
    const path = this.#path(name)
    try {
      await rm(path)
    } catch (error) {
      if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return
      throw error
    }
    await syncFolder(dirname(path))
  }

  async free(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#root)
    return bavail * bsize
  }

  async capacity(): Promise<number> {
    const { blocks, bsize } = await statfs(this.#root)
    return blocks * bsize
  }

  #path(name: StoreName): string {
    checkName(name)
    return join(this.#root, name)
  }

  async #makeFolder(path: string): Promise<void> {
    await told('make a folder for', path, () => mkdir(dirname(path), { recursive: true, mode: folderMode }))
  }

  /** Syncs the folder of a file and those above it, so that the file's name is durable. */
  #syncFolderOf(path: string): Promise<void> {
    return syncFolders(this.#root, dirname(path))
  }
}

class DirectoryFile implements GrowingFile {
  readonly name: StoreName
  readonly #fd: number
  #bytes: number
  #syncName: (() => Promise<void>) | undefined
  /** Appends and syncs run one after the other. */
  #last: Promise<unknown> = Promise.resolve()
  #isOpen = true

  constructor(name: StoreName, fd: number, bytes: number, syncName: () => Promise<void>) {
    this.name = name
    this.#fd = fd
    this.#bytes = bytes
    this.#syncName = syncName
  }

  get bytes(): number {
    return this.#bytes
  }

  append(parts: readonly Uint8Array[]): Promise<void> {
    const at = this.#bytes
    this.#bytes += parts.reduce((sum, part) => sum + part.length, 0)
    return this.#next(() => told('append to', this.name, () => writeAll(this.#fd, parts, at)))
  }

  sync(): Promise<void> {
    return this.#next(() =>
      told('sync', this.name, async () => {
        await dataSynced(this.#fd)
        await this.#syncName?.()
        this.#syncName = undefined
      }),
    )
  }

  #next(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => undefined)
    return done
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    await this.#last
    await closed(this.#fd)
  }
}

/** A system error as something to act on. */
async function told<T>(what: string, name: StoreName, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (isSystemError(error, 'ENOSPC', 'EDQUOT')) {
      throw new TidemarkError('vault-full', {
        message: `no room to ${what} ${name}`,
        hint: 'Make room on that file system, or raise the quota; work goes on by itself.',
        cause: error,
      })
    }
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) {
      throw new TidemarkError('not-found', { message: `there is no ${name}`, cause: error })
    }
    if (isSystemError(error, 'EEXIST')) {
      throw new TidemarkError('already-exists', { message: `${name} is there already`, cause: error })
    }
    throw error
  }
}

function readInto(fd: number, buffer: Buffer, offset: number, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, buffer, offset, buffer.length - offset, at, (error, count) => (error ? reject(error) : resolve(count)))
  })
}

async function writeAll(fd: number, parts: readonly Uint8Array[], at: number): Promise<void> {
  let rest = [...parts]
  let position = at
  while (rest.length > 0) {
    const written = await writeSome(fd, rest.slice(0, partsMax), position)
    position += written
    rest = withoutFirst(rest, written)
  }
}

function writeSome(fd: number, parts: readonly Uint8Array[], at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    writev(fd, parts, at, (error, written) => (error ? reject(error) : resolve(written)))
  })
}

function withoutFirst(parts: Uint8Array[], count: number): Uint8Array[] {
  let left = count
  let index = 0
  for (; index < parts.length; index++) {
    const part = parts[index] as Uint8Array
    if (left < part.length) return [part.subarray(left), ...parts.slice(index + 1)]
    left -= part.length
  }
  return []
}

/** Ascending order is the caller's to make. An absent folder holds nothing. */
async function namesBelow(folder: string, prefix: string): Promise<string[]> {
  try {
    const names: string[] = []
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const name = prefix + entry.name
      if (entry.isDirectory()) names.push(...(await namesBelow(join(folder, entry.name), `${name}/`)))
      else if (entry.isFile() && !name.endsWith(replacingSuffix)) names.push(name)
    }
    return names
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return []
    throw error
  }
}

/** A file may go while its folder is listed: packs and segments are removed beside their readers. */
async function sizeUnlessGone(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}

/** From `below` up to and with `root`. */
async function syncFolders(root: string, below: string): Promise<void> {
  for (let folder = below; ; folder = dirname(folder)) {
    await syncFolder(folder)
    if (folder === root || !folder.startsWith(root.endsWith(sep) ? root : root + sep)) return
  }
}

async function syncFolder(folder: string): Promise<void> {
  const fd = await opened(folder, constants.O_RDONLY)
  try {
    await synced(fd)
  } finally {
    await closed(fd)
  }
}
