import type { Attributes, Change, ChunkId } from '../../src/model/change.ts'
import { type TreePath, treePath } from '../../src/model/path.ts'
import type { Chance } from './chance.ts'

/** A chunk that a file is made of. */
export interface MadeChunk {
  readonly bytes: number
  readonly chunk: ChunkId
}

const perFolder = 100
const pageBytes = 8192
const logs = 50
export const largeFile: TreePath = treePath('database')
export const largeFileBytes = 1024 ** 3

/** Changes of a file server that is made up, in which every file is one chunk. */
export class MadeChanges {
  readonly files: number
  readonly #chance: Chance
  readonly #chunk: () => MadeChunk

  constructor(files: number, chance: Chance, chunk: () => MadeChunk) {
    this.files = files
    this.#chance = chance
    this.#chunk = chunk
  }

  get folderEntries(): number {
    return perFolder
  }

  folderOf(file: number): TreePath {
    return treePath(`data/folder-${Math.floor(file / perFolder)}`)
  }

  pathOf(file: number): TreePath {
    return treePath(`${this.folderOf(file)}/document-${file}.odt`)
  }

  /** Of the baseline: every file, every folder, the large file. */
  get baselineChanges(): number {
    return this.files + Math.ceil(this.files / perFolder) + 1
  }

  *baseline(): Generator<Change> {
    for (let file = 0; file < this.files; file++) {
      const attributes = this.#attributes()
      if (file % perFolder === 0)
        yield { kind: 'put', path: this.folderOf(file), attributes, content: { type: 'directory' } }
      yield this.#put(file)
    }
    yield { kind: 'truncate', path: largeFile, bytes: largeFileBytes }
  }

  /** Mostly files saved anew; also small ones inline, logs that grow, pages of one large file, attributes, renames. */
  *live(count: number): Generator<Change> {
    const chance = this.#chance
    const page = Buffer.alloc(pageBytes, 1)
    for (let left = count; left > 0; left--) {
      const file = chance.below(this.files)
      const saving = treePath(`${this.folderOf(file)}/.saving`)
      switch (chance.below(20)) {
        case 0:
        case 1:
          yield { kind: 'write', path: largeFile, at: chance.below(largeFileBytes / pageBytes) * pageBytes, data: page }
          break
        case 2:
        case 3:
          yield {
            kind: 'write',
            path: treePath(`logs/log-${chance.below(logs)}`),
            at: (count - left) * 100,
            data: page.subarray(0, 100),
          }
          break
        case 4:
          yield { kind: 'attributes', path: this.pathOf(file), attributes: this.#attributes() }
          break
        case 5:
          yield {
            kind: 'put',
            path: saving,
            attributes: this.#attributes(),
            content: { type: 'file', bytes: 100, extents: [{ at: 0, bytes: 100, data: page.subarray(0, 100) }] },
          }
          break
        case 6:
          yield { kind: 'rename', path: this.pathOf(file), from: saving }
          break
        default:
          yield this.#put(file)
      }
    }
  }

  #put(file: number): Change {
    const { bytes, chunk } = this.#chunk()
    const attributes = this.#attributes()
    const content = { type: 'file', bytes, extents: [{ at: 0, bytes, chunk }] } as const
    return { kind: 'put', path: this.pathOf(file), attributes, content }
  }

  #attributes(): Attributes {
    const modifiedNs = 1_700_000_000_000_000_000n + BigInt(this.#chance.below(1e9))
    return { mode: 0o644, uid: 1000, gid: 1000, modifiedNs, xattrs: [] }
  }
}
