import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { setXattr } from '../src/base/syscalls/xattrs.ts'

/** Directories deeper than this are not made. */
const depthMax = 6
const namesPerDirectory = 12

/**
 * A user of a directory who does everything users do, at random but the same for the same seed. All of it goes through
 * the system's ordinary calls, on Node's main thread, so between two calls of `work` the directory is quiet.
 */
export class TreeGenerator {
  readonly top: string
  /** Descriptions of what was done, newest last, for a failing seed. */
  readonly done: string[] = []
  #state: bigint

  readonly #hardLinks: boolean

  constructor(top: string, seed: number, { hardLinks = true }: { hardLinks?: boolean } = {}) {
    this.top = top
    this.#hardLinks = hardLinks
    this.#state = BigInt(seed)
    mkdirSync(top, { recursive: true })
  }

  /** Does `count` things. */
  work(count: number): void {
    for (let index = 0; index < count; index++) this.#one()
  }

  /** An independent copy of everything as it is now: the directory must not change meanwhile. */
  copyTo(target: string): void {
    mkdirSync(target, { recursive: true })
    execFileSync('cp', ['-a', '--sparse=auto', `${this.top}/.`, target])
  }

  #one(): void {
    const actions: [weight: number, name: string, act: () => string][] = [
      [14, 'write', () => this.#write()],
      [10, 'append', () => this.#append()],
      [8, 'overwrite', () => this.#overwrite()],
      [4, 'truncate', () => this.#truncate()],
      [8, 'rename', () => this.#rename()],
      [4, 'rename directory', () => this.#renameDirectory()],
      [5, 'replace', () => this.#replace()],
      [this.#hardLinks ? 5 : 0, 'hard link', () => this.#link()],
      [5, 'remove', () => this.#remove()],
      [2, 'remove tree', () => this.#removeTree()],
      [6, 'make directories', () => this.#makeDirectories()],
      [3, 'swap symlink', () => this.#swapSymlink()],
      [4, 'chmod', () => this.#chmod()],
      [3, 'xattr', () => this.#xattr()],
      [2, 'times', () => this.#times()],
      [3, 'sparse', () => this.#sparse()],
      [2, 'burst', () => this.#burst()],
      [2, 'rotate', () => this.#rotate()],
      [1, 'swap', () => this.#swap()],
    ]
    const total = actions.reduce((sum, [weight]) => sum + weight, 0)
    let ticket = this.#below(total)
    for (const [weight, name, act] of actions) {
      ticket -= weight
      if (ticket >= 0) continue
      const what = tolerant(act)
      this.done.push(`${name} ${what}`)
      return
    }
  }

  #write(): string {
    const path = this.#newPath()
    writeFileSync(path, this.#bytes(this.#size()))
    return path
  }

  #append(): string {
    const path = this.#file()
    appendFileSync(path, this.#bytes(1 + this.#below(3000)))
    return path
  }

  #overwrite(): string {
    const path = this.#file()
    const fd = openSync(path, 'r+')
    try {
      const { size } = lstatSync(path)
      writeSync(fd, this.#bytes(1 + this.#below(5000)), 0, undefined, this.#below(size + 1))
    } finally {
      closeSync(fd)
    }
    return path
  }

  #truncate(): string {
    const path = this.#file()
    truncateSync(path, this.#below(lstatSync(path).size + 5000))
    return path
  }

  #rename(): string {
    const from = this.#file()
    const to = this.#newPath()
    renameSync(from, to)
    return `${from} to ${to}`
  }

  #renameDirectory(): string {
    const from = this.#directory()
    const to = this.#newPath()
    if (from === this.top) return 'nothing'
    renameSync(from, to)
    return `${from} to ${to}`
  }

  /** As editors save. */
  #replace(): string {
    const path = this.#file()
    writeFileSync(`${path}.tmp`, this.#bytes(this.#size()))
    renameSync(`${path}.tmp`, path)
    return path
  }

  #link(): string {
    const from = this.#file()
    const to = this.#newPath()
    linkSync(from, to)
    return `${from} as ${to}`
  }

  #remove(): string {
    const path = this.#any()
    unlinkSync(path)
    return path
  }

  #removeTree(): string {
    const path = this.#directory()
    if (path === this.top) return 'nothing'
    rmSync(path, { recursive: true, force: true })
    return path
  }

  /** Files appear deep inside before anybody can have noticed the directories. */
  #makeDirectories(): string {
    let path = this.#directory()
    const depth = 1 + this.#below(4)
    for (let index = 0; index < depth && path.slice(this.top.length).split('/').length <= depthMax; index++) {
      path = `${path}/${this.#name()}`
    }
    mkdirSync(path, { recursive: true })
    for (let index = 0; index < 3; index++) writeFileSync(`${path}/${this.#name()}`, this.#bytes(this.#size()))
    return path
  }

  #swapSymlink(): string {
    const path = this.#newPath()
    rmSync(path, { recursive: true, force: true })
    symlinkSync(this.#below(3) === 0 ? '/nowhere/at all' : this.#name(), path)
    return path
  }

  #chmod(): string {
    const path = this.#any()
    if (!lstatSync(path).isSymbolicLink()) chmodSync(path, 0o600 + this.#below(0o200))
    return path
  }

  #xattr(): string {
    const path = this.#any()
    if (lstatSync(path).isSymbolicLink()) return 'nothing'
    setXattr(Buffer.from(path).toString('latin1'), `user.note${this.#below(3)}`, this.#bytes(this.#below(40)))
    return path
  }

  #times(): string {
    const path = this.#any()
    if (!lstatSync(path).isSymbolicLink()) utimesSync(path, 1_000_000 + this.#below(1e9), 1_000_000 + this.#below(1e9))
    return path
  }

  #sparse(): string {
    const path = this.#newPath()
    const fd = openSync(path, 'w')
    try {
      ftruncateSync(fd, 100_000 + this.#below(3_000_000))
      for (let index = this.#below(4); index > 0; index--) {
        writeSync(fd, this.#bytes(1 + this.#below(70_000)), 0, undefined, this.#below(2_000_000))
      }
    } finally {
      closeSync(fd)
    }
    return path
  }

  #burst(): string {
    const path = `${this.#directory()}/burst${this.#below(4)}`
    mkdirSync(path, { recursive: true })
    for (let index = 0; index < 150; index++) writeFileSync(`${path}/${index}`, this.#bytes(this.#below(300)))
    return path
  }

  /** As logs are rotated. */
  #rotate(): string {
    const path = this.#file()
    for (const [from, to] of [
      ['.1', '.2'],
      ['', '.1'],
    ] as const) {
      tolerant(() => (renameSync(path + from, path + to), ''))
    }
    writeFileSync(path, this.#bytes(this.#below(2000)))
    return path
  }

  #swap(): string {
    const one = this.#any()
    const other = this.#any()
    if (one === other || one.startsWith(other) || other.startsWith(one)) return 'nothing'
    renameSync(one, `${this.top}/swapping`)
    tolerant(() => (renameSync(other, one), ''))
    renameSync(`${this.top}/swapping`, other)
    return `${one} and ${other}`
  }

  #size(): number {
    const kind = this.#below(20)
    if (kind < 2) return 0
    if (kind < 9) return this.#below(600)
    if (kind < 17) return this.#below(40_000)
    return this.#below(1_500_000)
  }

  #bytes(count: number): Buffer {
    const bytes = Buffer.alloc(count)
    // Half of it compresses.
    const text = `${this.#below(1e9)} a line of text that comes again\n`
    if (this.#below(2) === 0) return bytes.fill(text)
    let state = this.#below(0xffff_ffff) | 1
    for (let at = 0; at + 4 <= count; at += 4) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      bytes.writeInt32LE(state | 0, at)
    }
    return bytes
  }

  #name(): string {
    const names = ['a', 'b', 'c', 'data', 'été', 'a b', 'log', '数据', "it's", '-x', '.hidden', 'new\nline']
    return names[this.#below(namesPerDirectory)] as string
  }

  #newPath(): string {
    return `${this.#directory()}/${this.#name()}`
  }

  #directory(): string {
    let path = this.top
    for (;;) {
      const below = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory())
      const depth = path.slice(this.top.length).split('/').length
      if (below.length === 0 || depth > depthMax || this.#below(3) === 0) return path
      path = `${path}/${(below[this.#below(below.length)] as { name: string }).name}`
    }
  }

  #file(): string {
    return this.#pick((path) => lstatSync(path).isFile()) ?? this.#write()
  }

  #any(): string {
    return this.#pick(() => true) ?? this.#write()
  }

  #pick(fits: (path: string) => boolean): string | undefined {
    for (let attempt = 0; attempt < 5; attempt++) {
      const directory = this.#directory()
      const paths = readdirSync(directory)
        .map((name) => `${directory}/${name}`)
        .filter(fits)
      if (paths.length > 0) return paths[this.#below(paths.length)]
    }
    return undefined
  }

  /** SplitMix64. */
  #below(limit: number): number {
    this.#state = BigInt.asUintN(64, this.#state + 0x9e3779b97f4a7c15n)
    let mixed = this.#state
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n)
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn)
    return Number((mixed ^ (mixed >> 31n)) % BigInt(Math.max(limit, 1)))
  }
}

/** What the system refuses (a directory over a file, a name that is taken) is a part of the play. */
function tolerant(act: () => string): string {
  try {
    return act()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined || !/^E[A-Z]+$/.test(code)) throw error
    return `failed with ${code}`
  }
}
