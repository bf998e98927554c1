import {
  closeSync,
  constants,
  fdatasync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { TidemarkError } from '../../base/errors.ts'
import { syncFolder } from '../../base/sync-folder.ts'
import { tryLock } from '../../base/syscalls/lock.ts'
import { punchHole } from '../../base/syscalls/sparse.ts'
import type { Range } from '../../model/change.ts'
import { formatSequence, parseSequence, type Sequence } from '../../model/sequence.ts'

/**
 * What was written over a moment of a volume, in a sparse file:
 *
 *   0       4096    text: a line `tidemark overlay 1`, a line of JSON (source, sequence, bytes), then zeros
 *   4096    m       the map: a bit for each block of 4096 bytes of the volume, the lowest bit of a byte first; 1: the block
 *                   stands here. Rounded up to a whole block
 *   4096+m  bytes   the blocks, each at its own offset
 *
 * Bits are only ever set, and on the disk only after the blocks that they tell of: whatever a power cut leaves is what the
 * moment held, or what was written over it. All that was written before a flush that was answered is found again.
 */
export const overlayBlockBytes = 4096
const headBytes = overlayBlockBytes
const magic = 'tidemark overlay 1\n'
/** Zeros where the file system makes no holes. */
const zeros = Buffer.alloc(1024 * 1024)
const syncData = promisify(fdatasync)

/** Which moment of which volume it lies over. */
export interface OverlayBase {
  /** Id of the source. */
  readonly source: string
  readonly at: Sequence
  readonly bytes: number
}

export class Overlay implements Disposable {
  readonly bytes: number
  readonly #descriptor: number
  readonly #map: Buffer
  readonly #dataAt: number
  /** Pages of the map that hold bits which are not durable yet. */
  #changed = new Set<number>()
  #syncing: Promise<void> | undefined
  #next: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined

  private constructor(descriptor: number, bytes: number) {
    this.#descriptor = descriptor
    this.bytes = bytes
    this.#map = Buffer.alloc(mapBytesOf(bytes))
    this.#dataAt = headBytes + this.#map.length
    readFully(descriptor, this.#map, headBytes)
  }

  /** Opens the overlay of that name, which is made if there is none; `temporary`: it goes with this process. */
  static open(path: string, base: OverlayBase, temporary = false): Overlay {
    const before = overlayBase(path)
    if (before === undefined) make(path, base)
    else if (before.source !== base.source || before.at !== base.at || before.bytes !== base.bytes) {
      throw new TidemarkError('bad-request', {
        message: `${path} lies over another moment: over change ${before.at} of the source ${before.source}`,
        hint: `open that one with --at seq:${before.at}, or name another overlay`,
      })
    }
    const descriptor = openSync(path, constants.O_RDWR)
    try {
      if (!tryLock(descriptor)) {
        throw new TidemarkError('already-running', {
          message: `another process has ${path} open`,
          hint: 'stop it, or name another overlay',
        })
      }
      if (temporary) rmSync(path)
      return new Overlay(descriptor, base.bytes)
    } catch (error) {
      closeSync(descriptor)
      throw error
    }
  }

  /** Whether the block that holds this byte stands here. */
  holds(at: number): boolean {
    const block = Math.floor(at / overlayBlockBytes)
    return ((this.#map[block >> 3] as number) & (1 << (block & 7))) !== 0
  }

  /** The range in runs that stand here, or do not. */
  *runs({ at: start, bytes }: Range): Generator<Range & { readonly isHere: boolean }> {
    const end = start + bytes
    for (let at = start; at < end;) {
      const isHere = this.holds(at)
      let until = blockEnd(at)
      while (until < end && this.holds(until) === isHere) until = blockEnd(until)
      yield { at, bytes: Math.min(until, end) - at, isHere }
      at = until
    }
  }

  /** All of it stands here. */
  read(at: number, into: Uint8Array): void {
    readFully(this.#descriptor, into, this.#dataAt + at)
  }

  /** Blocks of which only a part is written must stand here already. */
  write(at: number, data: Uint8Array): void {
    this.#check()
    this.#put(this.#dataAt + at, data)
    this.#set(at, data.length)
  }

  /** The same of zeros, which take no room where the file system makes holes. */
  zero(at: number, bytes: number): void {
    this.#check()
    if (!punchHole(this.#descriptor, this.#dataAt + at, bytes)) {
      for (let done = 0; done < bytes;) {
        const piece = zeros.subarray(0, Math.min(zeros.length, bytes - done))
        this.#put(this.#dataAt + at + done, piece)
        done += piece.length
      }
    }
    this.#set(at, bytes)
  }

  /** Resolves once all that was written before is durable. A failure is final: nothing more is taken. */
  flush(): Promise<void> {
    // One that waits has not begun, though the one before it may be over: two at once would each take bits of the other for durable.
    if (this.#next !== undefined) return this.#next
    if (this.#syncing === undefined) return (this.#syncing = this.#sync())
    this.#next = this.#syncing
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined
        return (this.#syncing = this.#sync())
      })
    return this.#next
  }

  async #sync(): Promise<void> {
    try {
      this.#check()
      // As it is now: bits that are set from here on may tell of blocks that this sync does not reach.
      const pages = [...this.#changed].map((page) => {
        const at = page * overlayBlockBytes
        return { at, bits: Buffer.from(this.#map.subarray(at, at + overlayBlockBytes)) }
      })
      this.#changed.clear()
      await syncData(this.#descriptor)
      if (pages.length === 0) return
      for (const { at, bits } of pages) this.#put(headBytes + at, bits)
      await syncData(this.#descriptor)
    } catch (error) {
      this.#failure ??= { error }
      throw error
    } finally {
      this.#syncing = undefined
    }
  }

  #put(at: number, data: Uint8Array): void {
    for (let done = 0; done < data.length;)
      done += writeSync(this.#descriptor, data, done, data.length - done, at + done)
  }

  #set(at: number, bytes: number): void {
    const first = Math.floor(at / overlayBlockBytes)
    const last = Math.floor((at + bytes - 1) / overlayBlockBytes)
    const wholeFrom = Math.ceil(first / 8)
    const wholeTo = Math.floor((last + 1) / 8)
    if (wholeFrom < wholeTo) this.#map.fill(0xff, wholeFrom, wholeTo)
    for (let block = first; block <= last; block++) {
      if (block >> 3 >= wholeFrom && block >> 3 < wholeTo) {
        block = wholeTo * 8 - 1
        continue
      }
      this.#map[block >> 3] = (this.#map[block >> 3] as number) | (1 << (block & 7))
    }
    const bitsInPage = overlayBlockBytes * 8
    for (let page = Math.floor(first / bitsInPage); page <= Math.floor(last / bitsInPage); page++)
      this.#changed.add(page)
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor)
  }
}

/** What the overlay of that name lies over; undefined where there is none. */
export function overlayBase(path: string): OverlayBase | undefined {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined
  const descriptor = openSync(path, constants.O_RDONLY)
  try {
    const head = Buffer.alloc(headBytes)
    readSync(descriptor, head, 0, headBytes, 0)
    const [first, told] = head.toString('utf8').split('\n')
    if (`${first}\n` !== magic || told === undefined) {
      throw new TidemarkError('already-exists', {
        message: `${path} is there and is no overlay`,
        hint: 'name another file',
      })
    }
    const { source, at, bytes } = JSON.parse(told) as { source: string; at: string; bytes: number }
    return { source, at: parseSequence(at), bytes }
  } finally {
    closeSync(descriptor)
  }
}

/** Whole, or not there. */
function make(path: string, { source, at, bytes }: OverlayBase): void {
  const part = `${path}.part`
  const descriptor = openSync(part, 'w', 0o600)
  try {
    ftruncateSync(descriptor, headBytes + mapBytesOf(bytes) + bytes)
    writeSync(descriptor, `${magic}${JSON.stringify({ source, at: formatSequence(at), bytes })}\n`, 0)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  renameSync(part, path)
  syncFolder(dirname(path))
}

function mapBytesOf(bytes: number): number {
  const blocks = Math.ceil(bytes / overlayBlockBytes)
  return Math.ceil(blocks / 8 / overlayBlockBytes) * overlayBlockBytes
}

const blockEnd = (at: number): number => (Math.floor(at / overlayBlockBytes) + 1) * overlayBlockBytes

function readFully(descriptor: number, into: Uint8Array, at: number): void {
  for (let done = 0; done < into.length;) {
    const got = readSync(descriptor, into, done, into.length - done, at + done)
    if (got === 0) throw new TidemarkError('damaged', { message: `an overlay ends at byte ${at + done}` })
    done += got
  }
}
