import { createHmac, type KeyObject } from 'node:crypto'
import { closeSync, constants, ftruncateSync, openSync, renameSync, symlinkSync, unlinkSync, writeSync } from 'node:fs'
import { assert } from '../base/assert.ts'
import { isSystemError, messageOf, systemCode } from '../base/errors.ts'
import { makeNode } from '../base/syscalls/nodes.ts'
import type { Attributes, Extent } from '../model/change.ts'
import type { BinaryString, TreePath } from '../model/path.ts'
import { applyAttributes } from './attributes.ts'
import type { Folders } from './folders.ts'
import type { Entry } from './groups.ts'
import { Notes, type Noted } from './notes.ts'
import type { NodeContent } from './plan.ts'

/** What writing to the target needs; one per thread. Staging folders are given as open descriptors. */
export interface Target {
  readonly folders: Folders
  readonly chunkKey: KeyObject
  readonly ownStaging: number
  readonly largeStaging: number
}

export interface Written {
  readonly files: number
  readonly nodes: number
  readonly bytes: number
  readonly chunks: number
  readonly notes: readonly Noted[]
  readonly failures: readonly Failure[]
}

export const nothingWritten: Written = { files: 0, nodes: 0, bytes: 0, chunks: 0, notes: [], failures: [] }

/** Something that was not restored. */
export interface Failure {
  /** A path of the tree, as a binary string. */
  readonly path: string
  /** Where in the file, when it is about bytes of it. */
  readonly at?: number
  readonly bytes?: number
  readonly reason: string
}

/**
 * Writes the entries of a group. An entry gets its place in the tree only whole, checked and with its attributes;
 * until then it is a file in a staging folder. A failure of one entry leaves the others alone; a target without room
 * fails the whole.
 */
export function writeGroup(target: Target, entries: readonly Entry[], pieces: readonly Uint8Array[]): Written {
  const notes = new Notes()
  const failures: Failure[] = []
  const written = { files: 0, nodes: 0, bytes: 0, chunks: 0 }
  const content = new Content(pieces)
  for (const entry of entries) {
    const { path } = entry
    try {
      if (entry.kind === 'node') {
        if (writeNode(target, entry.path, entry.attributes, entry.content, notes)) written.nodes++
        continue
      }
      const laid = lay(entry.extents, content)
      const wrong = laid.filter(({ id, data }) => id !== undefined && chunkIdOf(target.chunkKey, data) !== id)
      if (wrong.length > 0) {
        for (const piece of wrong) failures.push({ path, at: piece.at, bytes: piece.data.length, reason: mismatch })
        continue
      }
      if (entry.kind === 'piece') writePiece(target, entry.file, laid)
      else writeFile(target, entry, laid, notes)
      if (entry.kind === 'file') written.files++
      written.bytes += laid.reduce((sum, { data }) => sum + data.length, 0)
      written.chunks += laid.filter(({ id }) => id !== undefined).length
    } catch (error) {
      if (systemCode(error) === undefined || isSystemError(error, ...noRoomCodes)) throw error
      failures.push({ path, reason: messageOf(error) })
    }
  }
  return { ...written, notes: notes.list(), failures }
}

const mismatch = 'the bytes are not those that were protected'
export const noRoomCodes = ['ENOSPC', 'EDQUOT']

/** Completes a file whose pieces have all been written. */
export function finishLargeFile(
  target: Target,
  file: { path: TreePath; file: number; attributes: Attributes; bytes: number },
): Written {
  const { path } = file
  const notes = new Notes()
  const staged = within(target.largeStaging, String(file.file))
  try {
    const descriptor = openSync(staged, constants.O_WRONLY | constants.O_NOFOLLOW)
    try {
      ftruncateSync(descriptor, file.bytes)
      applyAttributes({ place: staged, descriptor, path }, file.attributes, notes)
    } finally {
      closeSync(descriptor)
    }
    renameSync(staged, target.folders.place(path))
  } catch (error) {
    if (systemCode(error) === undefined || isSystemError(error, ...noRoomCodes)) throw error
    const reason = isSystemError(error, 'ENOENT') ? changedMeanwhile : messageOf(error)
    return { ...nothingWritten, failures: [{ path, reason }] }
  }
  return { ...nothingWritten, files: 1, notes: notes.list() }
}

const changedMeanwhile = 'was restored by an earlier run and changed since; remove it, then go on with --resume'

/** Bytes with their place in a file; `id` where they are a chunk. */
interface Laid {
  readonly at: number
  readonly data: Uint8Array
  readonly id: string | undefined
}

/** `content` holds next the bytes of the extents that are chunks, one after the other. */
const lay = (extents: readonly Extent[], content: Content): Laid[] =>
  extents.map((extent) =>
    'data' in extent
      ? { at: extent.at, data: extent.data, id: undefined }
      : { at: extent.at, data: content.take(extent.bytes), id: extent.chunk },
  )

/** Content that came in pieces, taken from its beginning on; joined only where a chunk lies in several of them. */
class Content {
  readonly #pieces: readonly Uint8Array[]
  #next = 0
  /** How much of the next piece is taken. */
  #taken = 0

  constructor(pieces: readonly Uint8Array[]) {
    this.#pieces = pieces
  }

  take(bytes: number): Uint8Array {
    const whole = this.#some(bytes)
    if (whole.length === bytes) return whole
    const joined = new Uint8Array(bytes)
    joined.set(whole)
    for (let filled = whole.length; filled < bytes;) {
      const some = this.#some(bytes - filled)
      joined.set(some, filled)
      filled += some.length
    }
    return joined
  }

  #some(bytesMax: number): Uint8Array {
    let piece = this.#pieces[this.#next]
    while (piece !== undefined && this.#taken === piece.length) {
      this.#taken = 0
      piece = this.#pieces[++this.#next]
    }
    assert(piece !== undefined, 'as much content is fetched as the entries have')
    const some = piece.subarray(this.#taken, this.#taken + bytesMax)
    this.#taken += some.length
    return some
  }
}

const chunkIdOf = (key: KeyObject, data: Uint8Array): string => createHmac('sha256', key).update(data).digest('latin1')

function writeFile(
  target: Target,
  file: { path: TreePath; attributes: Attributes; bytes: number },
  pieces: readonly Laid[],
  notes: Notes,
): void {
  const staged = within(target.ownStaging, 'file')
  const descriptor = openSync(
    staged,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  )
  try {
    writePieces(descriptor, pieces)
    const last = pieces.at(-1)
    if (file.bytes !== (last ? last.at + last.data.length : 0)) ftruncateSync(descriptor, file.bytes)
    applyAttributes({ place: staged, descriptor, path: file.path }, file.attributes, notes)
    renameSync(staged, target.folders.place(file.path))
  } catch (error) {
    unlinkSync(staged)
    throw error
  } finally {
    closeSync(descriptor)
  }
}

function writePiece(target: Target, file: number, pieces: readonly Laid[]): void {
  const staged = within(target.largeStaging, String(file))
  const descriptor = openSync(staged, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
  try {
    writePieces(descriptor, pieces)
  } finally {
    closeSync(descriptor)
  }
}

function writePieces(descriptor: number, pieces: readonly Laid[]): void {
  for (const { at, data } of pieces) {
    for (let written = 0; written < data.length;) {
      written += writeSync(descriptor, data, written, data.length - written, at + written)
    }
  }
}

/** False, with a note, where this user may not make such a node. */
function writeNode(
  target: Target,
  path: TreePath,
  attributes: Attributes,
  content: NodeContent,
  notes: Notes,
): boolean {
  const staged = within(target.ownStaging, 'node')
  if (content.type === 'symlink') symlinkSync(Buffer.from(content.target, 'latin1'), Buffer.from(staged, 'latin1'))
  else {
    try {
      makeNode(staged, 'major' in content ? { kind: content.type, ...content } : { kind: content.type }, 0o600)
    } catch (error) {
      if (!('major' in content) || !isSystemError(error, 'EPERM')) throw error
      notes.add('device', path)
      return false
    }
  }
  try {
    applyAttributes({ place: staged, isSymlink: content.type === 'symlink', path }, attributes, notes)
    renameSync(staged, target.folders.place(path))
  } catch (error) {
    unlinkSync(staged)
    throw error
  }
  return true
}

const within = (folder: number, name: string): BinaryString => `/proc/self/fd/${folder}/${name}` as BinaryString
