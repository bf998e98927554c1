import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { deviceParts } from '../src/base/syscalls/nodes.ts'
import { readXattrs } from '../src/base/syscalls/xattrs.ts'
import { unreachable } from '../src/base/assert.ts'
import type { Attributes, Change, ChunkId, Content, Extent } from '../src/model/change.ts'
import { displayName, fromAbsolute, isWithin, parentOf, stagingName, type TreePath } from '../src/model/path.ts'

/** A file is shared by all of its names. */
interface Node {
  attributes: Attributes
  content: Exclude<Content, { type: 'file' }> | { type: 'file'; bytes: Buffer; extents: readonly Extent[] | undefined }
}

/** What changes mean, in the simplest way that can be thought of: the judge of captures and vaults. */
export class ReferenceTree {
  readonly #nodes = new Map<TreePath, Node>()
  readonly #chunk: (id: ChunkId) => Uint8Array

  constructor(chunk: (id: ChunkId) => Uint8Array) {
    this.#chunk = chunk
  }

  get size(): number {
    return this.#nodes.size
  }

  /** The content of a file by its path on this machine. */
  fileAt(absolute: string): Buffer | undefined {
    const content = this.#nodes.get(fromAbsolute(absolute))?.content
    return content?.type === 'file' ? content.bytes : undefined
  }

  apply(change: Change): void {
    switch (change.kind) {
      case 'put': {
        const { path, attributes, content } = change
        const before = this.#nodes.get(path)
        this.#needParent(path)
        const keepsChildren = before?.content.type === 'directory' && content.type === 'directory'
        if (!keepsChildren) this.#remove(path)
        this.#nodes.set(path, {
          attributes,
          content:
            content.type === 'file'
              ? {
                  type: 'file',
                  bytes: this.#write(Buffer.alloc(content.bytes), content.extents),
                  extents: content.extents,
                }
              : content,
        })
        return
      }
      case 'patch': {
        const node = this.#file(change.path)
        const bytes = this.#write(
          resized(node.content.bytes, Math.max(change.bytes, node.content.bytes.length)),
          change.extents,
        )
        for (const { at, bytes: count } of change.zeros) bytes.fill(0, at, at + count)
        node.content = {
          type: 'file',
          bytes: resized(bytes, change.bytes),
          extents: overlaid(node.content.extents, change),
        }
        node.attributes = change.attributes
        return
      }
      case 'link': {
        const node = this.#nodes.get(change.to)
        assert.ok(node && node.content.type !== 'directory', `link to ${displayName(change.to)}`)
        if (this.#nodes.get(change.path) === node) return
        this.#needParent(change.path)
        this.#remove(change.path)
        this.#nodes.set(change.path, node)
        return
      }
      case 'rename':
        return this.#rename(change.from, change.path)
      case 'remove':
        return this.#remove(change.path)
      case 'attributes': {
        const node = this.#nodes.get(change.path)
        assert.ok(node, `attributes of ${displayName(change.path)}`)
        node.attributes = change.attributes
        return
      }
      case 'mark':
        return
      case 'write':
      case 'zero':
      case 'truncate':
        throw new Error(`no capture of files tells a ${change.kind}`)
      default:
        return unreachable(change)
    }
  }

  /** Lines that say everything of what is at `top` and below; the same as `describeDirectory` gives of the real one. */
  describe(top: TreePath): string[] {
    const names = new Map<Node, TreePath[]>()
    for (const [path, node] of this.#nodes) {
      if (!isWithin(path, top) || path.startsWith(stagingName)) continue
      const known = names.get(node)
      if (known === undefined) names.set(node, [path])
      else known.push(path)
    }
    const lines: string[] = []
    for (const [node, paths] of names) {
      const { content, attributes } = node
      paths.sort()
      for (const path of paths) {
        const what =
          content.type === 'file'
            ? fileLine(content.bytes)
            : content.type === 'symlink'
              ? content.target
              : 'major' in content
                ? `${content.major}:${content.minor}`
                : ''
        lines.push(
          line(
            path.slice(top.length),
            content.type,
            attributes,
            what,
            paths.map((name) => name.slice(top.length)),
          ),
        )
      }
    }
    return lines.sort()
  }

  /** As the changes of a manifest; `keep` stores a chunk and names it. */
  *manifest(keep: (bytes: Buffer) => ChunkId): Generator<Change> {
    const told = new Map<Node, TreePath>()
    for (const path of [...this.#nodes.keys()].sort(byParts)) {
      const node = this.#nodes.get(path) as Node
      const first = told.get(node)
      if (first !== undefined) {
        yield { kind: 'link', path, to: first }
        continue
      }
      told.set(node, path)
      const { content, attributes } = node
      if (content.type !== 'file') {
        yield { kind: 'put', path, attributes, content }
        continue
      }
      const extents =
        content.extents ?? pieces(content.bytes).map(({ at, data }) => ({ at, bytes: data.length, chunk: keep(data) }))
      yield { kind: 'put', path, attributes, content: { type: 'file', bytes: content.bytes.length, extents } }
    }
  }

  #needParent(path: TreePath): void {
    const parent = parentOf(path)
    if (parent !== '')
      assert.equal(this.#nodes.get(parent)?.content.type, 'directory', `directory of ${displayName(path)}`)
  }

  #remove(path: TreePath): void {
    if (!this.#nodes.has(path)) return
    const isDirectory = this.#nodes.get(path)?.content.type === 'directory'
    this.#nodes.delete(path)
    if (isDirectory) for (const other of this.#nodes.keys()) if (isWithin(other, path)) this.#nodes.delete(other)
  }

  #rename(from: TreePath, to: TreePath): void {
    assert.ok(this.#nodes.has(from), `rename of ${displayName(from)}, which is not there`)
    this.#needParent(to)
    const moved = [...this.#nodes].filter(([path]) => isWithin(path, from))
    for (const [path] of moved) this.#nodes.delete(path)
    this.#remove(to)
    for (const [path, node] of moved) this.#nodes.set(`${to}${path.slice(from.length)}` as TreePath, node)
  }

  #file(path: TreePath): Node & { content: { type: 'file'; bytes: Buffer; extents: readonly Extent[] | undefined } } {
    const node = this.#nodes.get(path)
    assert.ok(node?.content.type === 'file', `file ${displayName(path)}`)
    return node as Node & { content: { type: 'file'; bytes: Buffer; extents: readonly Extent[] | undefined } }
  }

  #write(bytes: Buffer, extents: readonly Extent[]): Buffer {
    for (const extent of extents) {
      const data = 'data' in extent ? extent.data : this.#chunk(extent.chunk)
      assert.equal(data.length, extent.bytes, 'an extent is as long as what it holds')
      assert.ok(extent.at + extent.bytes <= bytes.length, 'an extent is within its file')
      bytes.set(data, extent.at)
    }
    return bytes
  }
}

/** The extents of a patched file; undefined where the patch replaces only a part of one. */
function overlaid(
  before: readonly Extent[] | undefined,
  patch: Extract<Change, { kind: 'patch' }>,
): readonly Extent[] | undefined {
  const replaced = [...patch.extents, ...patch.zeros, { at: patch.bytes, bytes: Infinity }]
  const kept: Extent[] = []
  for (const extent of before ?? []) {
    const touching = replaced.filter(({ at, bytes }) => at < extent.at + extent.bytes && extent.at < at + bytes)
    if (touching.length === 0) kept.push(extent)
    else if (!touching.some(({ at, bytes }) => at <= extent.at && extent.at + extent.bytes <= at + bytes))
      return undefined
  }
  return before === undefined ? undefined : [...kept, ...patch.extents].sort((a, b) => a.at - b.at)
}

const pieceBytes = 64 * 1024

function pieces(bytes: Buffer): { at: number; data: Buffer }[] {
  const count = Math.ceil(bytes.length / pieceBytes)
  return Array.from({ length: count }, (_, index) => ({
    at: index * pieceBytes,
    data: bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes),
  }))
}

function resized(bytes: Buffer, length: number): Buffer {
  if (bytes.length === length) return Buffer.from(bytes)
  const other = Buffer.alloc(length)
  bytes.copy(other, 0, 0, length)
  return other
}

/** What a directory of this machine holds, in the words of `ReferenceTree.describe`. */
export function describeDirectory(top: string, leave: (path: string) => boolean = () => false): string[] {
  const byNode = new Map<string, string[]>()
  const found: { path: string; absolute: string; key: string }[] = []
  const walk = (absolute: string, path: string): void => {
    const stat = lstatSync(bytesOf(absolute), { bigint: true })
    const key = stat.isDirectory() ? path : `${stat.dev}:${stat.ino}`
    found.push({ path, absolute, key })
    byNode.set(key, [...(byNode.get(key) ?? []), path])
    if (!stat.isDirectory()) return
    for (const name of readdirSync(bytesOf(absolute), 'latin1')) {
      if (!leave(`${path}/${name}`)) walk(`${absolute}/${name}`, `${path}/${name}`)
    }
  }
  walk(Buffer.from(top).toString('latin1'), '')
  return found.map(({ path, absolute, key }) => describeOne(path, absolute, (byNode.get(key) ?? []).sort())).sort()
}

function describeOne(path: string, absolute: string, names: string[]): string {
  const stat = lstatSync(bytesOf(absolute), { bigint: true })
  const attributes: Attributes = {
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    modifiedNs: stat.mtimeNs,
    xattrs: readXattrs(absolute) as unknown as Attributes['xattrs'],
  }
  if (stat.isFile()) return line(path, 'file', attributes, fileLine(readFileSync(bytesOf(absolute))), names)
  if (stat.isDirectory()) return line(path, 'directory', attributes, '', names)
  if (stat.isSymbolicLink()) return line(path, 'symlink', attributes, readlinkSync(bytesOf(absolute), 'latin1'), names)
  if (stat.isFIFO()) return line(path, 'fifo', attributes, '', names)
  if (stat.isSocket()) return line(path, 'socket', attributes, '', names)
  const { major, minor } = deviceParts(stat.rdev)
  return line(path, stat.isBlockDevice() ? 'block-device' : 'character-device', attributes, `${major}:${minor}`, names)
}

const bytesOf = (path: string): Buffer => Buffer.from(path, 'latin1')

const fileLine = (bytes: Buffer): string =>
  `${bytes.length} ${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}`

function line(path: string, type: string, attributes: Attributes, what: string, names: readonly string[]): string {
  const { mode, uid, gid, modifiedNs, xattrs } = attributes
  const told = xattrs.map(({ name, value }) => `${name}=${Buffer.from(value).toString('hex')}`).join(',')
  const links = names.length > 1 ? ` names ${names.map(displayName).join(' ')}` : ''
  return `${displayName(path)} ${type} ${mode.toString(8)} ${uid}:${gid} ${modifiedNs} [${told}] ${displayName(what)}${links}`
}

function byParts(a: TreePath, b: TreePath): number {
  return a.split('/').join('\0') < b.split('/').join('\0') ? -1 : 1
}
