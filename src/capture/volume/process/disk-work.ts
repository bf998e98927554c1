import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs'

/** Of the file `stat` of a block device (Documentation/block/stat.rst): reads, writes, discards and flushes that have ended. */
const completedFields = [0, 4, 11, 15]
const textBytesMax = 512

/**
 * Where the system counts what the disk under a file, or the block device itself, has completed. Undefined where it does not tell: of a
 * network file system, of memory, of btrfs and ZFS.
 */
export function workFileOf(path: string): string | undefined {
  const facts = statSync(path, { bigint: true })
  const device = facts.isBlockDevice() ? facts.rdev : facts.dev
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n)
  const file = `/sys/dev/block/${major}:${minor}/stat`
  return existsSync(file) ? file : undefined
}

export const completedIn = (text: string): number => {
  const fields = text.trim().split(/\s+/)
  return completedFields.reduce((sum, index) => sum + Number(fields[index] ?? 0), 0)
}

/** What a disk completes, read from a file that is open from the beginning on: a disk that hangs gives none. */
export class DiskWork implements Disposable {
  readonly #fd: number
  readonly #text = Buffer.alloc(textBytesMax)
  #completed = 0

  constructor(file: string) {
    this.#fd = openSync(file, 'r')
  }

  /** Whether it has completed anything since the last look. */
  hasMoved(): boolean {
    const length = readSync(this.#fd, this.#text, 0, textBytesMax, 0)
    const completed = completedIn(this.#text.toString('latin1', 0, length))
    const hasMoved = completed !== this.#completed
    this.#completed = completed
    return hasMoved
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }
}
