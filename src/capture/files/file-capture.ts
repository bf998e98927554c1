import { closeSync } from 'node:fs'
import type { Chunk } from '../../format/block.ts'
import type { TreePath } from '../../model/path.ts'
import type { Anchors } from './anchors.ts'
import type { BatchWriter } from './batch-writer.ts'
import type { CatalogTree, NameRow } from './catalog-tree.ts'
import { type DirtyKey, dirtyKey, reason } from './dirty-set.ts'
import { FileComparison } from './file-comparison.ts'
import type { Flow } from './flow.ts'
import type { Hearing } from './hearing.ts'
import type { Offers } from './offers.ts'
import { absolute } from './protected-paths.ts'
import { type FileReader, type FileVersion, isSame, openFile } from './read-file.ts'
import type { Signature } from './signature.ts'
import type { SourceTree } from './source-tree.ts'
import type { StagingPlace } from './staging.ts'
import { inodeOf, isEqualStat, isSameNode, type Stat } from './stat.ts'
import type { Outcome, Place } from './subject.ts'
import type { TreeWriter } from './tree-writer.ts'

/** Live content up to this length is sent without asking whether the vault has it. */
const unaskedBytesMax = 128 * 1024

export interface FileCaptureParts {
  readonly tree: CatalogTree
  readonly source: SourceTree
  readonly writer: BatchWriter
  readonly treeWriter: TreeWriter
  readonly offers: Offers
  readonly anchors: Anchors
  readonly hearing: Hearing
  readonly reader: Omit<FileReader, 'writes'>
  readonly flow: Flow
}

interface PendingFile {
  readonly version: FileVersion
  cancelled: boolean
}

/** Reads files, and writes each version once the vault has said which of its chunks it lacks. */
export class FileCapture {
  readonly #parts: FileCaptureParts
  /** Offered, and not answered yet. */
  readonly #pending = new Map<DirtyKey, PendingFile>()

  constructor(parts: FileCaptureParts) {
    this.#parts = parts
  }

  /** Reads a file at once, and writes what differs from the signature. */
  capture(at: Place, known: Signature): Outcome {
    const key = dirtyKey(at.subject.directory, at.subject.name)
    const path = absolute(at.path)
    const reader = { ...this.#parts.reader, writes: () => this.#parts.hearing.writes(key) }
    const fd = openFile(path)
    try {
      if (!isSame(fd, path, at.look.stat, reader)) return 'torn'
      const comparison = new FileComparison(path, at.look, known, reader)
      let result = comparison.step(fd, Infinity, () => false)
      while (result === 'more') result = comparison.step(fd, Infinity, () => false)
      return result === 'torn' || result === 'much' ? 'torn' : this.write(at, result)
    } finally {
      closeSync(fd)
    }
  }

  /** Writes a version that has just been read, or offers its content first. */
  write(at: Place, version: FileVersion): Outcome {
    const { subject, lane } = at
    const { offers, writer, treeWriter, source, hearing, flow } = this.#parts
    const unknown = version.chunks.filter((chunk) => writer.isNew(chunk))
    const unknownBytes = unknown.reduce((sum, { data }) => sum + data.length, 0)
    const isAsked = unknownBytes > (lane === 'live' ? unaskedBytesMax : 0)
    if (!isAsked || !flow.isLineUp()) {
      if (!source.stands(subject.directory)) {
        hearing.lookFor(subject.directory)
        return 'moved'
      }
      treeWriter.writeFile(at, version, unknown)
      return 'done'
    }
    const key = dirtyKey(subject.directory, subject.name)
    const pending: PendingFile = { version, cancelled: false }
    this.#pending.set(key, pending)
    offers.add(lane, {
      chunks: version.chunks,
      write: (missing) => {
        if (this.#pending.get(key) === pending) this.#pending.delete(key)
        if (!pending.cancelled && !this.#writeOffered(at, version, missing)) {
          hearing.notice(subject, reason.content)
          hearing.inode(inodeOf(version.stat), reason.content)
        }
      },
    })
    return 'done'
  }

  /** The answer took a while: it is written only if the name still stands for that file. */
  #writeOffered(at: Place, version: FileVersion, missing: readonly Chunk[]): boolean {
    const path = this.#stillWanted(at, version)
    if (path === undefined) return false
    this.#parts.treeWriter.writeFile({ ...at, path }, version, missing)
    return true
  }

  /** Puts the file that has been built whole at a staging place where it belongs; false where that is not so any more. */
  placeStaged(at: Place, version: FileVersion, staged: StagingPlace): boolean {
    const path = this.#stillWanted(at, version)
    if (path === undefined) return false
    this.#parts.treeWriter.placeStaged(at, path, version, staged)
    return true
  }

  /** Where to write what was read some time ago; undefined where that is out of date. */
  #stillWanted({ subject, known, occupant }: Place, version: FileVersion): TreePath | undefined {
    const { tree, source, anchors, hearing } = this.#parts
    const { directory, name } = subject
    const path = tree.pathAt(directory, name)
    if (path === undefined || anchors.isVanished(path)) return undefined
    const now = tree.child(directory, name)
    const before = known ?? occupant
    const isAsBefore =
      now?.id === before?.id && (now === undefined || before === undefined || isEqualStat(now.stat, before.stat))
    if (!isAsBefore || !source.stands(directory)) return undefined
    const look = source.look(path)
    if (look === undefined || !isSameNode(look.stat, version.stat)) return undefined
    // An older state is a state, too; the newer one follows.
    if (!isEqualStat(look.stat, version.stat)) hearing.notice(subject, reason.content)
    return path
  }

  // --- waiting for the vault

  get isPending(): boolean {
    return this.#pending.size > 0
  }

  /** What was read under this name and waits for the vault's answer. */
  pendingAt({ directory, name }: NameRow): Stat | undefined {
    return this.#pending.get(dirtyKey(directory, name))?.version.stat
  }

  /** Whether this file is about to be written under another name. */
  isPendingElsewhere(stat: Stat, key: DirtyKey): boolean {
    for (const [other, { version }] of this.#pending) if (other !== key && isSameNode(version.stat, stat)) return true
    return false
  }

  /** It will not be written; under other names it is looked at again. */
  cancel({ directory, name }: NameRow): void {
    const key = dirtyKey(directory, name)
    const pending = this.#pending.get(key)
    if (pending === undefined) return
    pending.cancelled = true
    this.#parts.hearing.inode(inodeOf(pending.version.stat), reason.content)
    this.#pending.delete(key)
  }
}
