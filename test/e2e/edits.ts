import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  lutimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { isSystemError } from '../../src/base/errors.ts'
import type { Seeded } from '../sim/random.ts'

/** Edits of a directory tree such as people and programs make, decided by chance; the same chance makes the same. */
export class Edits {
  readonly #root: string
  readonly #chance: Seeded
  #made = 0

  constructor(root: string, chance: Seeded) {
    this.#root = root
    this.#chance = chance
  }

  some(count: number): void {
    for (let edit = 0; edit < count; edit++) this.one()
  }

  one(): void {
    let left = this.#below(this.#edits.reduce((sum, [weight]) => sum + weight, 0))
    const [, edit] = this.#edits.find(([weight]) => (left -= weight) < 0)!
    try {
      edit()
    } catch (error) {
      // Two picks need not fit: a folder into itself, a link onto a folder. Then this edit changes nothing.
      if (!isSystemError(error, 'EINVAL', 'ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EISDIR', 'EPERM', 'EMLINK', 'ELOOP'))
        throw error
    }
  }

  readonly #edits: readonly (readonly [number, () => void])[] = [
    [8, () => writeFileSync(this.#newPath(), this.#bytes(20_000))],
    [6, () => this.#onFile((path) => writeFileSync(path, this.#bytes(60_000)))],
    [6, () => this.#onFile((path) => appendFileSync(path, this.#bytes(3000)))],
    [4, () => this.#onFile((path) => this.#overwrite(path))],
    [2, () => this.#onFile((path) => truncateSync(path, this.#below(70_000)))],
    [1, () => writeFileSync(this.#newPath(), this.#bytes(3_000_000))],
    [3, () => this.#saveAsEditorsDo()],
    [4, () => mkdirSync(this.#newPath(), { recursive: true })],
    [4, () => this.#onAny((path) => renameSync(path, this.#newPath()))],
    [2, () => this.#onFile((path) => this.#onFile((other) => renameSync(path, other)))],
    [4, () => this.#onAny((path) => rmSync(path, { recursive: true }))],
    [2, () => symlinkSync(`../${this.#name()}`, this.#newPath())],
    [2, () => this.#onFile((path) => linkSync(path, this.#newPath()))],
    [2, () => this.#onFile((path) => chmodSync(path, this.#chance.pick([0o600, 0o644, 0o755, 0o4711])))],
    [1, () => this.#onAny((path) => lutimesSync(path, 1e9 + this.#made, 1e9 + this.#made / 7))],
    [1, () => execFileSync('mkfifo', [this.#newPath()])],
  ]

  /** A temporary file beside it, then renamed over it. */
  #saveAsEditorsDo(): void {
    this.#onFile((path) => {
      writeFileSync(`${path}.tmp`, this.#bytes(30_000))
      renameSync(`${path}.tmp`, path)
    })
  }

  #overwrite(path: string): void {
    const descriptor = openSync(path, 'r+')
    try {
      writeSync(descriptor, this.#bytes(5000), 0, undefined, this.#below(100_000))
    } finally {
      closeSync(descriptor)
    }
  }

  #onFile(act: (path: string) => void): void {
    const path = this.#find((entry) => lstatSync(entry).isFile())
    if (path !== undefined) act(path)
  }

  #onAny(act: (path: string) => void): void {
    const path = this.#find(() => true)
    if (path !== undefined) act(path)
  }

  #find(fits: (path: string) => boolean): string | undefined {
    const found = this.#entries(this.#root).filter(fits)
    return found.length === 0 ? undefined : this.#chance.pick(found)
  }

  #entries(folder: string): string[] {
    return readdirSync(folder, { withFileTypes: true })
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .flatMap((entry) => {
        const path = join(folder, entry.name)
        return entry.isDirectory() ? [path, ...this.#entries(path)] : [path]
      })
  }

  /** A free name in a folder that is there: writing to a link or a pipe would be something else. */
  #newPath(): string {
    const folders = this.#entries(this.#root).filter((path) => lstatSync(path).isDirectory())
    for (;;) {
      const path = join(this.#chance.pick([this.#root, ...folders]), this.#name())
      if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return path
    }
  }

  #name(): string {
    const names = ['a', 'b', 'report.txt', '报告.docx', 'übersicht', 'x y', 'deep', 'log', 'data.bin']
    return `${this.#chance.pick(names)}${this.#below(80)}`
  }

  #below(limit: number): number {
    return this.#chance.integer(0, limit - 1)
  }

  #bytes(bytesMax: number): Buffer {
    this.#made++
    const bytes = Buffer.alloc(1 + this.#below(bytesMax))
    const isText = this.#below(2) === 0
    if (isText) bytes.fill(`line of edit ${this.#made}\n`)
    else for (let at = 0; at < bytes.length; at++) bytes[at] = this.#below(256)
    return bytes
  }
}
