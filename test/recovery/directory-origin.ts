import { createHmac, createSecretKey } from 'node:crypto'
import { type BigIntStats, closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs'
import { deviceParts } from '../../src/base/syscalls/nodes.ts'
import { dataRanges } from '../../src/base/syscalls/sparse.ts'
import { readXattrs } from '../../src/base/syscalls/xattrs.ts'
import { encodeManifest } from '../../src/format/manifest.ts'
import type { Change, ChunkId, Content, Extent, Xattr } from '../../src/model/change.ts'
import { moment } from '../../src/model/moment.ts'
import {
  type BinaryString,
  fromBuffer,
  fromUtf8,
  isWithin,
  joinPath,
  toBuffer,
  type TreePath,
} from '../../src/model/path.ts'
import { sequence } from '../../src/model/sequence.ts'
import type { ReadRequest, RestoreOrigin } from '../../src/recover/origin.ts'

/**
 * A local directory told as a restore origin: what is in `root` now stands in the tree at `at`. Reads it with other
 * means than the capture does, and knows nothing of vaults.
 */
export interface DirectoryOrigin extends RestoreOrigin {
  /** Bytes that went out by `read`. */
  readonly served: { bytes: number; calls: number }
}

const chunkBytes = 256 * 1024
const chunkKey = Buffer.alloc(32, 7)

export function directoryOrigin(root: string, at: TreePath): DirectoryOrigin {
  const key = createSecretKey(chunkKey)
  const served = { bytes: 0, calls: 0 }
  const real = (path: TreePath): BinaryString => `${fromUtf8(root)}${path.slice(at.length)}` as BinaryString
  return {
    served,
    chunkKey,
    resolve: async () => ({ at: sequence(4711), moment: moment(1_790_000_000_000_000) }),
    async *manifest(paths) {
      yield* encodeManifest(changesOf(at, paths))
    },
    async *read(requests: readonly ReadRequest[]) {
      served.calls++
      for (const { path, at: from, bytes } of requests) {
        const data = readRange(real(path), from, bytes)
        served.bytes += data.length
        yield data
      }
    },
  }

  function* changesOf(
    path: TreePath,
    paths: readonly TreePath[],
    names = new Map<string, TreePath>(),
  ): Generator<Change> {
    const wanted = paths.length === 0 || paths.some((one) => isWithin(path, one))
    if (!wanted && !paths.some((one) => isWithin(one, path))) return
    const stat = lstatSync(toBuffer(real(path)), { bigint: true })
    if (wanted || stat.isDirectory()) yield changeOf(path, stat, names)
    if (!stat.isDirectory()) return
    const children = readdirSync(toBuffer(real(path)), { encoding: 'buffer' })
      .map(fromBuffer)
      .sort(byBytes)
    for (const name of children) yield* changesOf(joinPath(path, name), paths, names)
  }

  function changeOf(path: TreePath, stat: BigIntStats, names: Map<string, TreePath>): Change {
    if (stat.nlink > 1n && !stat.isDirectory()) {
      const first = names.get(`${stat.ino}`)
      if (first !== undefined) return { kind: 'link', path, to: first }
      names.set(`${stat.ino}`, path)
    }
    const attributes = {
      mode: Number(stat.mode & 0o7777n),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      modifiedNs: stat.mtimeNs,
      xattrs: readXattrs(real(path)) as unknown as Xattr[],
    }
    return { kind: 'put', path, attributes, content: contentOf(path, stat) }
  }

  function contentOf(path: TreePath, stat: BigIntStats): Content {
    if (stat.isDirectory()) return { type: 'directory' }
    if (stat.isFile())
      return { type: 'file', bytes: Number(stat.size), extents: extentsOf(real(path), Number(stat.size)) }
    if (stat.isFIFO()) return { type: 'fifo' }
    if (stat.isSocket()) return { type: 'socket' }
    if (stat.isSymbolicLink()) {
      return { type: 'symlink', target: fromBuffer(readlinkSync(toBuffer(real(path)), { encoding: 'buffer' })) }
    }
    return { type: stat.isBlockDevice() ? 'block-device' : 'character-device', ...deviceParts(stat.rdev) }
  }

  function extentsOf(path: BinaryString, size: number): Extent[] {
    const extents: Extent[] = []
    if (size === 0) return extents
    const descriptor = openSync(toBuffer(path), 'r')
    try {
      for (const { start, end } of dataRanges(descriptor, size)) {
        for (let from = start; from < end; from += chunkBytes) {
          const data = Buffer.alloc(Math.min(chunkBytes, end - from))
          readSync(descriptor, data, 0, data.length, from)
          const chunk = createHmac('sha256', key).update(data).digest('latin1') as ChunkId
          extents.push({ at: from, bytes: data.length, chunk })
        }
      }
    } finally {
      closeSync(descriptor)
    }
    return extents
  }
}

function readRange(path: BinaryString, at: number, bytes: number): Buffer {
  const descriptor = openSync(toBuffer(path), 'r')
  try {
    const data = Buffer.allocUnsafe(bytes)
    return data.subarray(0, readSync(descriptor, data, 0, bytes, at))
  } finally {
    closeSync(descriptor)
  }
}

const byBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
