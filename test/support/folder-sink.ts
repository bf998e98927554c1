import assert from 'node:assert/strict'
import { chmodSync, closeSync, ftruncateSync, mkdirSync, openSync, symlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { BulkSink } from '../../src/capture/postgres/bulk-sink.ts'
import type { Chunk } from '../../src/format/block.ts'
import type { Change, ChunkId, Extent } from '../../src/model/change.ts'
import { isWithin, type TreePath } from '../../src/model/path.ts'

/** Does in a folder of this machine what the changes of a baseline say. Chunks it has been sent need not be sent again. */
export class FolderSink implements BulkSink {
  /** Bytes of chunks that were new. */
  sentBytes = 0
  changes = 0
  longestBytes = 0
  readonly #root: string
  readonly #top: TreePath
  readonly #sent = new Set<ChunkId>()

  /** What is at `top` of the tree comes to stand in `root`; the rest is left out. */
  constructor(root: string, top: TreePath) {
    this.#root = root
    this.#top = top
  }

  async write(change: Change, chunks: readonly Chunk[]): Promise<void> {
    this.changes++
    for (const { id, data } of chunks) {
      if (this.#sent.has(id)) continue
      this.#sent.add(id)
      this.sentBytes += data.length
    }
    const brought = chunks.reduce((sum, { data }) => sum + data.length, 0)
    this.longestBytes = Math.max(this.longestBytes, brought)
    assert.ok(change.kind === 'put' || change.kind === 'patch')
    if (!isWithin(change.path, this.#top)) return
    const path = join(this.#root, change.path.slice(this.#top.length))
    if (change.kind === 'patch') return writeContent(path, 'r+', change, chunks)
    const { content, attributes } = change
    if (content.type === 'directory') {
      mkdirSync(path, { recursive: change.path === this.#top })
      chmodSync(path, attributes.mode)
    } else if (content.type === 'symlink') {
      symlinkSync(content.target, path)
    } else {
      assert.ok(content.type === 'file')
      writeContent(path, 'wx', content, chunks)
      chmodSync(path, attributes.mode)
    }
  }

  async flush(): Promise<void> {}
}

function writeContent(
  path: string,
  flags: string,
  { bytes, extents }: { readonly bytes: number; readonly extents: readonly Extent[] },
  chunks: readonly Chunk[],
): void {
  const fd = openSync(path, flags)
  ftruncateSync(fd, bytes)
  for (const extent of extents) {
    const data = 'data' in extent ? extent.data : chunks.find(({ id }) => id === extent.chunk)?.data
    assert.ok(data?.length === extent.bytes)
    writeSync(fd, data, 0, data.length, extent.at)
  }
  closeSync(fd)
}
