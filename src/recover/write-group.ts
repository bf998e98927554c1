import { createHmac, type KeyObject } from 'node:crypto'
import { closeSync, constants, ftruncateSync, openSync, renameSync, symlinkSync, unlinkSync, writeSync } from 'node:fs'
import { isSystemError, messageOf, systemCode } from '../base/errors.ts'
import { makeNode } from '../base/syscalls/nodes.ts'
import type { Attributes, Extent } from '../model/change.ts'
import type { BinaryString, TreePath } from '../model/path.ts'
import { applyAttributes } from './attributes.ts'
import { runsOf } from './fetch.ts'
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
export function writeGroup(target: Target, entries: readonly Entry[], content: Uint8Array): Written {
  const notes = new Notes()
  const failures: Failure[] = []
  const written = { files: 0, nodes: 0, bytes: 0, chunks: 0 }
  let at = 0
  for (const entry of entries) {
    const { path } = entry
    try {
      if (entry.kind === 'node') {
        if (writeNode(target, entry.path, entry.attributes, entry.content, notes)) written.nodes++
        continue
      }
      const start = at
      for (const run of runsOf(entry.extents)) at += run.bytes
      const pieces = lay(entry.extents, content.subarray(start, at))
      const wrong = pieces.filter(({ id, data }) => id !== undefined && chunkIdOf(target.chunkKey, data) !== id)
      if (wrong.length > 0) {
        for (const piece of wrong) failures.push({ path, at: piece.at, bytes: piece.data.length, reason: mismatch })
        continue
      }
      if (entry.kind === 'piece') writePiece(target, entry.file, pieces)
      else writeFile(target, entry, pieces, notes)
      if (entry.kind === 'file') written.files++
      written.bytes += pieces.reduce((sum, { data }) => sum + data.length, 0)
      written.chunks += pieces.filter(({ id }) => id !== undefined).length
    } catch (error) {
      if (systemCode(error) === undefined || isSystemError(error, ...noRoomCodes)) throw error
      failures.push({ path, reason: messageOf(error) })
    }
  }
  return { ...written, notes: notes.list(), failures }
}

export const mismatch = 'the bytes are not those that were protected'
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

/** `content` holds the bytes of the extents that are chunks, one after the other. */
function lay(extents: readonly Extent[], content: Uint8Array): Laid[] {
  let taken = 0
  return extents.map((extent) => {
    if ('data' in extent) return { at: extent.at, data: extent.data, id: undefined }
    const data = content.subarray(taken, taken + extent.bytes)
    taken += extent.bytes
    return { at: extent.at, data, id: extent.chunk }
  })
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
