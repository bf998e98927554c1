import type { Attributes, Change, Content, Extent } from '../../src/model/change.ts'
import {
  type BinaryString,
  fromUtf8,
  isWithin,
  joinPath,
  rootPath,
  stagingName,
  type TreePath,
} from '../../src/model/path.ts'
import type { Seeded } from './random.ts'
import type { Tree } from './tree.ts'

/** Bytes that will be a chunk when the change is told. */
export type IntendedExtent = {
  readonly at: number
  readonly bytes: number
  readonly data: Uint8Array
  readonly asChunk: boolean
}

const names: readonly BinaryString[] = [
  ...['a', 'b', 'c', 'data.db', 'x y', 'Z', '世界'].map(fromUtf8),
  '\xff\xfe' as BinaryString,
  '-' as BinaryString,
]
const depthMax = 3
const fileBytesMax = 6000

/** What a busy server does to its files, all kinds of change, one at a time. */
export class Workload {
  readonly #random: Seeded
  /** Data is cut out of this, at random places: quick to make, and much of it comes again, as in life. */
  readonly #pool: Buffer
  #staged = 0

  constructor(random: Seeded) {
    this.#random = random
    this.#pool = Buffer.from(random.bytes(16 * 1024))
  }

  /** One step, which may take several changes that follow each other. */
  step(tree: Tree): Change[] {
    const files = this.#files(tree)
    const paths = tree.paths()
    for (;;) {
      const changes = this.#tryStep(tree, paths, files)
      if (changes !== undefined) return changes
    }
  }

  #files(tree: Tree): TreePath[] {
    return tree.paths().filter((path) => tree.at(path)?.type === 'file')
  }

  #tryStep(tree: Tree, paths: readonly TreePath[], files: readonly TreePath[]): Change[] | undefined {
    const random = this.#random
    const path = this.#newPath(tree)
    const file = files.length === 0 ? undefined : random.pick(files)
    const any = paths.length === 0 ? undefined : random.pick(paths)
    switch (random.integer(0, 15)) {
      case 0:
      case 1:
        return [{ kind: 'put', path, attributes: this.#attributes(), content: this.fileContent() }]
      case 2:
        return [{ kind: 'put', path, attributes: this.#attributes(), content: { type: 'directory' } }]
      case 3:
        return [{ kind: 'put', path, attributes: this.#attributes(), content: this.#otherContent() }]
      case 4:
        return file && [{ kind: 'put', path: file, attributes: this.#attributes(), content: this.fileContent() }]
      case 5:
      case 6:
        return file && [this.patch(file)]
      case 7:
        return file && file !== path && !isWithin(file, path) ? [{ kind: 'link', path, to: file }] : undefined
      case 8:
        return any && this.#rename(any, random.chance(0.25) ? random.pick(paths) : path)
      case 9:
        return [{ kind: 'remove', path: any !== undefined && random.chance(0.9) ? any : path }]
      case 10:
        return any && [{ kind: 'attributes', path: any, attributes: this.#attributes() }]
      case 11:
      case 12:
        return this.#write(tree, file !== undefined && random.chance(0.85) ? file : path)
      case 13:
        return file && this.#zero(tree, file)
      case 14:
        return this.#truncate(tree, file !== undefined && random.chance(0.85) ? file : path)
      default:
        return random.chance(0.5) ? this.#staged_(path) : undefined
    }
  }

  #newPath(tree: Tree): TreePath {
    const random = this.#random
    const folders = tree.paths().filter((path) => tree.at(path)?.type === 'directory' && depth(path) < depthMax)
    const parent = folders.length === 0 || random.chance(0.3) ? rootPath : random.pick(folders)
    return joinPath(parent, random.pick(names))
  }

  #rename(from: TreePath, path: TreePath): Change[] | undefined {
    return isWithin(path, from) || isWithin(from, path) ? undefined : [{ kind: 'rename', path, from }]
  }

  #write(tree: Tree, path: TreePath): Change[] | undefined {
    const node = tree.at(path)
    if (node !== undefined && node.type !== 'file') return undefined
    const at = this.#random.integer(0, (node?.data.length ?? 0) + 100)
    return [{ kind: 'write', path, at, data: this.#data(this.#random.skewed(1, 1500)) }]
  }

  #zero(tree: Tree, path: TreePath): Change[] | undefined {
    const node = tree.at(path)
    if (node?.type !== 'file' || node.data.length === 0) return undefined
    const at = this.#random.integer(0, node.data.length - 1)
    return [{ kind: 'zero', path, at, bytes: this.#random.integer(1, node.data.length - at) }]
  }

  #truncate(tree: Tree, path: TreePath): Change[] | undefined {
    const node = tree.at(path)
    if (node !== undefined && node.type !== 'file') return undefined
    return [
      {
        kind: 'truncate',
        path,
        bytes: this.#random.integer(0, Math.min((node?.data.length ?? 0) + 200, fileBytesMax)),
      },
    ]
  }

  /** Too large for one change: built aside, then moved into its place. */
  #staged_(path: TreePath): Change[] {
    const aside = joinPath(stagingName as TreePath, String(this.#staged++))
    const put: Change = { kind: 'put', path: aside, attributes: this.#attributes(), content: this.fileContent() }
    const patches = Array.from({ length: this.#random.integer(0, 2) }, () => this.patch(aside))
    return [put, ...patches, { kind: 'rename', path, from: aside }]
  }

  patch(path: TreePath): Change {
    const bytes = this.#random.skewed(0, fileBytesMax)
    const extents: Extent[] = []
    const zeros: { at: number; bytes: number }[] = []
    let at = 0
    for (let count = this.#random.integer(0, 3); count > 0; count--) {
      at += this.#random.integer(0, 1000)
      const length = Math.min(this.#random.skewed(1, 1500), bytes - at)
      if (length <= 0) break
      if (this.#random.chance(0.25)) zeros.push({ at, bytes: length })
      else extents.push(this.#extent(at, length))
      at += length
    }
    return { kind: 'patch', path, attributes: this.#attributes(), bytes, extents, zeros }
  }

  fileContent(): Content {
    return this.contentOf(this.#data(this.#random.skewed(0, fileBytesMax)), this.#random.chance(0.2))
  }

  /** A file of these bytes, told in extents of any kind; with `holes` some of the bytes are left out and so are zeros. */
  contentOf(data: Buffer, holes = false): Content {
    const extents: Extent[] = []
    let at = 0
    while (at < data.length) {
      const length = Math.min(this.#random.skewed(1, 2000), data.length - at)
      if (!holes || this.#random.chance(0.6)) extents.push(this.#extentOf(at, data.subarray(at, at + length)))
      at += length
    }
    return { type: 'file', bytes: data.length, extents }
  }

  #otherContent(): Content {
    const random = this.#random
    switch (random.integer(0, 3)) {
      case 0:
        return { type: 'symlink', target: random.pick(names) }
      case 1:
        return { type: 'fifo' }
      case 2:
        return { type: 'socket' }
      default:
        return {
          type: random.pick(['character-device', 'block-device'] as const),
          major: random.integer(0, 300),
          minor: random.integer(0, 70_000),
        }
    }
  }

  #attributes(): Attributes {
    const random = this.#random
    const count = random.chance(0.2) ? random.integer(1, 2) : 0
    const xattrs = Array.from({ length: count }, (_, index) => ({
      name: fromUtf8(`user.${index}`),
      value: this.#data(random.skewed(0, 100)),
    }))
    return {
      mode: random.integer(0, 0o7777),
      uid: random.pick([0, 1000, 65_534]),
      gid: random.pick([0, 100]),
      modifiedNs: BigInt(random.integer(-1000, 1_000_000_000)) * 1_000_003n,
      xattrs,
    }
  }

  #extent(at: number, bytes: number): Extent {
    return this.#extentOf(at, this.#data(bytes))
  }

  #extentOf(at: number, data: Buffer): Extent {
    const extent: IntendedExtent = {
      at,
      bytes: data.length,
      data,
      asChunk: this.#random.chance(data.length > 200 ? 0.7 : 0.1),
    }
    return extent
  }

  #data(bytes: number): Buffer {
    if (bytes > 0 && this.#random.chance(0.1)) return Buffer.alloc(bytes, this.#random.integer(0, 255))
    // Whole blocks of the pool come again, and so do their chunks.
    const start = this.#random.chance(0.5) ? this.#random.integer(0, 7) * 1024 : this.#random.integer(0, 8 * 1024)
    return this.#pool.subarray(start, start + bytes)
  }
}

const depth = (path: TreePath): number => path.split('/').length
