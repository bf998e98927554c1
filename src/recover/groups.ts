import type { Attributes, Extent } from '../model/change.ts'
import type { TreePath } from '../model/path.ts'
import { extentBytes, type NodeContent, type Step } from './plan.ts'

/**
 * A group is what is asked for, written and recorded as one. The same manifest always makes the same groups with the
 * same numbers, from 0 on, so that a number is all a resumed restore needs to know.
 *
 * A file of more than one group is made of pieces, and stands in groups of its own.
 */
export const groupBytesMax = 8 * 1024 * 1024
export const groupEntriesMax = 2000
/** Changes whenever the same manifest would make other groups. */
export const groupsMadeBy = `1/${groupBytesMax}/${groupEntriesMax}`

export interface Group {
  readonly kind: 'group'
  readonly number: number
  readonly entries: readonly Entry[]
}

export type Entry =
  | {
      readonly kind: 'file'
      readonly path: TreePath
      readonly attributes: Attributes
      readonly bytes: number
      readonly extents: readonly Extent[]
    }
  | { readonly kind: 'node'; readonly path: TreePath; readonly attributes: Attributes; readonly content: NodeContent }
  | Piece

/** Part of a large file; `file` is the number of its first group, and names it while it is not whole. */
export interface Piece {
  readonly kind: 'piece'
  readonly path: TreePath
  readonly file: number
  readonly extents: readonly Extent[]
}

export type Work =
  | Group
  | { readonly kind: 'folder'; readonly path: TreePath }
  /** After all groups with pieces of the file. */
  | {
      readonly kind: 'large-file'
      readonly path: TreePath
      readonly file: number
      readonly attributes: Attributes
      readonly bytes: number
    }

/** What is to be done for the steps of a plan, but for links, which come after all content. */
export async function* groupsOf(steps: AsyncIterable<Step>): AsyncGenerator<Work> {
  const maker = new GroupMaker()
  for await (const step of steps) {
    if (step.kind === 'folder') yield { kind: 'folder', path: step.path }
    else yield* maker.take(step)
  }
  yield* maker.close()
}

class GroupMaker {
  #number = 0
  #entries: Entry[] = []
  #bytes = 0
  /** The file whose pieces are being made. */
  #large: number | undefined;

  *take(step: Exclude<Step, { kind: 'folder' }>): Generator<Work> {
    switch (step.kind) {
      case 'link':
        return
      case 'node':
        return yield* this.#add(step, 0)
      case 'file-part':
        return void (yield* this.#addPieces(step.path, step.content.extents))
      case 'file': {
        const { path, attributes, content } = step
        const { bytes, extents } = content
        const contentBytes = extentBytes(extents)
        if (this.#large === undefined && contentBytes <= groupBytesMax) {
          return yield* this.#add({ kind: 'file', path, attributes, bytes, extents }, contentBytes)
        }
        const file = yield* this.#addPieces(path, extents)
        this.#large = undefined
        yield { kind: 'large-file', path, file, attributes, bytes }
      }
    }
  }

  *close(): Generator<Group> {
    if (this.#entries.length === 0) return
    yield { kind: 'group', number: this.#number++, entries: this.#entries }
    this.#entries = []
    this.#bytes = 0
  }

  *#add(entry: Entry, bytes: number): Generator<Group> {
    if (this.#bytes + bytes > groupBytesMax || this.#entries.length >= groupEntriesMax) yield* this.close()
    this.#entries.push(entry)
    this.#bytes += bytes
  }

  *#addPieces(path: TreePath, extents: readonly Extent[]): Generator<Group, number> {
    if (this.#large === undefined) yield* this.close()
    const file = (this.#large ??= this.#number)
    for (const part of cut(extents)) {
      this.#entries.push({ kind: 'piece', path, file, extents: part })
      yield* this.close()
    }
    return file
  }
}

/** Runs of extents of at most `groupBytesMax` each, at least one extent in each. */
function* cut(extents: readonly Extent[]): Generator<Extent[]> {
  let part: Extent[] = []
  let bytes = 0
  for (const extent of extents) {
    if (part.length > 0 && bytes + extent.bytes > groupBytesMax) {
      yield part
      part = []
      bytes = 0
    }
    part.push(extent)
    bytes += extent.bytes
  }
  if (part.length > 0) yield part
}
