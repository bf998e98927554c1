import { createHash } from 'node:crypto'
import { assert } from '../base/assert.ts'
import { TidemarkError } from '../base/errors.ts'
import type { ArchiveEntry } from '../format/archive/entry.ts'
import { encodeTar, type TarEntry } from '../format/archive/tar.ts'
import { encodeZip, zipEntriesMax } from '../format/archive/zip.ts'
import { type BinaryString, displayName, fromUtf8, nameOf, rootPath, toBuffer, type TreePath } from '../model/path.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import type { ViewService } from '../vault/views/service.ts'
import type { Entry } from '../vault/views/view.ts'

export interface ArchiveRequest {
  readonly source: Id
  readonly at: Sequence
  /** What stands at the top of the archive: a directory with all below it, a file or a link. */
  readonly top: Entry
  /** What it is called there. */
  readonly name: BinaryString
  readonly format: 'zip' | 'tar'
}

/** Small files are read so many at a time. */
const entriesAtOnce = 256
const bytesAtOnce = 4 * 1024 * 1024
/** Beyond, further names of a file are told as files of their own. */
const linkedMax = 1_000_000
const notesMax = 1_000

/** A part of a tree as one file that other programs unpack. Where it fails it breaks off, without the end that makes it whole. */
export async function* archive(
  views: ViewService,
  request: ArchiveRequest,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const { top, name, format } = request
  const notes = new Notes()
  const found = readable(foundBelow(views, request, signal), notes)
  if (format === 'tar') {
    const named = (path: TreePath): BinaryString => under(name, top.path, path)
    const items = withContent(views, request, linked(found), signal)
    yield* encodeTar(withNotes(tarEntries(items, named), notes, name))
  } else {
    const named = (path: TreePath): BinaryString => safePath(under(name, top.path, path), notes)
    const items = withContent(views, request, unlinked(found), signal)
    yield* encodeZip(withNotes(zipEntries(items, named), notes, safeName(name)))
  }
}

/** Refuses what a zip file could not hold. `files` of the whole source spare the counting. */
export async function checkZip(
  views: ViewService,
  request: ArchiveRequest,
  files: number,
  signal: AbortSignal,
): Promise<void> {
  if (request.top.type !== 'directory' || files < zipEntriesMax / 2) return
  // With the notes.
  let count = 1
  for await (const _entry of foundBelow(views, request, signal)) {
    if (++count <= zipEntriesMax) continue
    throw new TidemarkError('bad-request', {
      message: `there are more than ${zipEntriesMax} files and directories below "/${displayName(request.top.path)}"`,
      hint: 'take a tar archive, choose a directory further down, or restore it',
    })
  }
}

/** Everything at and below the top, a directory before what is in it. */
async function* foundBelow(
  views: ViewService,
  { source, at, top }: ArchiveRequest,
  signal: AbortSignal,
): AsyncGenerator<Entry> {
  yield top
  if (top.type !== 'directory') return
  async function* below(folder: TreePath): AsyncGenerator<Entry> {
    for await (const page of views.list(source, at, folder, signal)) {
      for (const entry of page) {
        yield entry
        if (entry.type === 'directory') yield* below(entry.path)
      }
    }
  }
  yield* below(top.path)
}

async function* readable(entries: AsyncIterable<Entry>, notes: Notes): AsyncGenerator<Entry> {
  for await (const entry of entries) {
    if (isArchived(entry)) yield entry
    else notes.add(`left out, since it is a ${entry.type}: /${displayName(entry.path)}`)
  }
}

export const isArchived = ({ type }: Entry): boolean => type === 'directory' || type === 'file' || type === 'symlink'

interface Item {
  readonly entry: Entry
  /** Of a further name of a file that came before, under this one. */
  readonly linkTo?: TreePath
}

/** Files of several names are told once. */
async function* linked(entries: AsyncIterable<Entry>): AsyncGenerator<Item> {
  const first = new Map<number, TreePath>()
  for await (const entry of entries) {
    const linkTo = entry.links > 1 ? first.get(entry.node) : undefined
    if (entry.links > 1 && linkTo === undefined && first.size < linkedMax) first.set(entry.node, entry.path)
    yield linkTo === undefined ? { entry } : { entry, linkTo }
  }
}

async function* unlinked(entries: AsyncIterable<Entry>): AsyncGenerator<Item> {
  for await (const entry of entries) yield { entry }
}

interface WithContent extends Item {
  readonly content: () => AsyncIterable<Uint8Array>
}

/** Entries with their bytes, which are read many files at a time: `content` before the next entry is asked for, or never. */
async function* withContent(
  views: ViewService,
  { source, at }: ArchiveRequest,
  items: AsyncIterable<Item>,
  signal: AbortSignal,
): AsyncGenerator<WithContent> {
  const bytesOf = ({ entry, linkTo }: Item): number => (linkTo === undefined ? entry.bytes : 0)
  async function* read(group: readonly Item[]): AsyncGenerator<WithContent> {
    const requests = group
      .filter((item) => bytesOf(item) > 0)
      .map(({ entry: { path, bytes } }) => ({ path, at: 0, bytes }))
    const slices = new Slices(requests.length === 0 ? nothing() : views.read(source, at, requests, signal))
    try {
      for (const item of group) {
        yield { ...item, content: () => slices.next(bytesOf(item)) }
        await slices.skipTo(bytesOf(item))
      }
    } finally {
      await slices.end()
    }
  }
  let group: Item[] = []
  let bytes = 0
  for await (const item of items) {
    group.push(item)
    bytes += bytesOf(item)
    if (group.length < entriesAtOnce && bytes < bytesAtOnce) continue
    yield* read(group)
    group = []
    bytes = 0
  }
  yield* read(group)
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // No file of the group has a byte.
}

/** The bytes of files that come one after the other. */
class Slices {
  readonly #pieces: AsyncIterator<Uint8Array>
  #held: Uint8Array = new Uint8Array()
  #taken = 0

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]()
  }

  /** The next file, or what is left of it. */
  async *next(bytes: number): AsyncGenerator<Uint8Array> {
    while (this.#taken < bytes) {
      if (this.#held.length === 0) {
        const next = await this.#pieces.next()
        assert(!next.done, 'all bytes that were asked for are told')
        this.#held = next.value
      }
      const piece = this.#held.subarray(0, bytes - this.#taken)
      this.#held = this.#held.subarray(piece.length)
      this.#taken += piece.length
      yield piece
    }
  }

  /** Past the end of a file, whether it was read or not. */
  async skipTo(bytes: number): Promise<void> {
    for await (const _piece of this.next(bytes));
    this.#taken = 0
  }

  async end(): Promise<void> {
    await this.#pieces.return?.()
  }
}

async function* zipEntries(
  items: AsyncIterable<WithContent>,
  named: (path: TreePath) => BinaryString,
): AsyncGenerator<ArchiveEntry> {
  for await (const { entry, content } of items) yield archived(entry, named(entry.path), content)
}

async function* tarEntries(
  items: AsyncIterable<WithContent>,
  named: (path: TreePath) => BinaryString,
): AsyncGenerator<TarEntry> {
  for await (const { entry, linkTo, content } of items) {
    const path = named(entry.path)
    if (linkTo === undefined) yield archived(entry, path, content)
    else yield { ...placeOf(entry, path), type: 'link', to: named(linkTo) }
  }
}

function archived(entry: Entry, path: BinaryString, content: WithContent['content']): ArchiveEntry {
  const place = placeOf(entry, path)
  if (entry.type === 'directory') return { ...place, type: 'directory' }
  if (entry.target !== undefined) return { ...place, type: 'symlink', target: entry.target }
  return { ...place, type: 'file', bytes: entry.bytes, content: content() }
}

const placeOf = ({ attributes }: Entry, path: BinaryString) => ({
  path,
  mode: attributes.mode,
  uid: attributes.uid,
  gid: attributes.gid,
  modifiedNs: attributes.modifiedNs,
})

/** What became of names and of what was left out, told in a text beside the rest; nothing where there is nothing to tell. */
class Notes {
  readonly #lines: string[] = []
  #count = 0

  add(line: string): void {
    if (++this.#count <= notesMax) this.#lines.push(line)
  }

  get text(): Buffer | undefined {
    if (this.#count === 0) return undefined
    const more = this.#count > notesMax ? [`and ${this.#count - notesMax} more`] : []
    return Buffer.from(`${[...this.#lines, ...more].join('\n')}\n`)
  }
}

async function* withNotes<T extends TarEntry>(
  entries: AsyncIterable<T>,
  notes: Notes,
  name: BinaryString,
): AsyncGenerator<T | ArchiveEntry> {
  yield* entries
  const { text } = notes
  if (text === undefined) return
  const attributes = { mode: 0o644, uid: 0, gid: 0, modifiedNs: 0n }
  const path = `${name}.notes.txt` as BinaryString
  yield { ...attributes, path, type: 'file', bytes: text.length, content: one(text) }
}

async function* one(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes
}

function under(name: BinaryString, top: TreePath, path: TreePath): BinaryString {
  if (path === top) return name
  return `${name}/${top === rootPath ? path : path.slice(top.length + 1)}` as BinaryString
}

/**
 * A path that a PC unpacks where it should: UTF-8, without what some programs take for a separator, a drive or a hidden part of a file,
 * or leave out at the end of a name, so that ".. " is the way up. A name that had to be changed carries a sign of what it was, so that no
 * two become one, and is told.
 */
function safePath(path: BinaryString, notes: Notes): BinaryString {
  const names = path.split('/') as BinaryString[]
  const safe = names.map(safeName)
  const last = safe.at(-1) as string
  if (last !== names.at(-1)) {
    const exact = toBuffer(names.at(-1) as BinaryString).toString('hex')
    notes.add(`renamed: ${displayName(last)} was /${displayName(path)} (the name as bytes: ${exact})`)
  }
  return safe.join('/') as BinaryString
}

function safeName(name: BinaryString): BinaryString {
  const shown = displayName(name)
  // oxlint-disable-next-line no-control-regex
  const safe = shown.replace(/[\\:\u0000-\u001f\u007f]/g, '_').replace(/[. ]+$/, (end) => '_'.repeat(end.length))
  if (fromUtf8(safe) === name) return name
  const sign = createHash('sha256').update(toBuffer(name)).digest('hex').slice(0, 8)
  const dot = safe.lastIndexOf('.')
  const stem = dot > 0 ? safe.slice(0, dot) : safe
  const ending = dot > 0 ? safe.slice(dot).slice(0, 20) : ''
  return fromUtf8(`${stem.slice(0, 60)}~${sign}${ending}`)
}

/** What a path is called by itself. */
export const archiveName = (path: TreePath, sourceName: string): BinaryString =>
  path === rootPath ? fromUtf8(sourceName) : nameOf(path)
