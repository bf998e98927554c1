import { isCode, TidemarkError } from '../../base/errors.ts'
import { blockHead, blocksKept, bytesHead, damageItem, endItem, pieceItem } from '../../format/content.ts'
import type { ChunkId } from '../../model/change.ts'
import { displayName } from '../../model/path.ts'
import type { Piece } from '../index/extent-reader.ts'
import type { VersionRow } from '../index/index-reader.ts'
import type { RestingBlock } from '../reader.ts'
import type { ReadRequest } from './service.ts'
import { filled, type Found, type View } from './view.ts'

/** A range of a file, found in the index. */
interface Range {
  readonly version: VersionRow
  readonly start: number
  readonly end: number
}

/** The bytes of the requests, one after the other. */
export async function* readRequests(view: View, requests: readonly ReadRequest[]): AsyncGenerator<Buffer> {
  for (const request of requests) {
    const { version, start, end } = rangeOf(view, request)
    yield* filled(view.read(version, start, end))
  }
}

/**
 * The same, encoded as in format/content.ts. A block goes as it rests where all its chunks are asked for, so that
 * nobody gets a byte that was not asked for; whoever gets it has to check its chunks against their names. Everything
 * else is checked here. What is damaged ends the content and says so.
 */
export async function* restingContent(view: View, requests: readonly ReadRequest[]): AsyncGenerator<Buffer> {
  const ranges = view.atOnce(() =>
    requests.map((request) => {
      const range = rangeOf(view, request)
      return { ...range, pieces: [...view.pieces(range.version, range.start, range.end)] }
    }),
  )
  const blocks = new SentBlocks(view, new Set(ranges.flatMap((range) => range.pieces.flatMap(wholeChunk(range)))))
  try {
    for (const { version, start, end, pieces } of ranges) {
      let reached = start
      for (const piece of pieces) {
        const [id] = wholeChunk({ start, end })(piece)
        const sent = id === undefined ? undefined : await blocks.find(id, piece.bytes)
        if (sent === undefined) continue
        yield* told(view, version, reached, piece.at)
        if (sent.block !== undefined) yield* [blockHead(sent.block.length), sent.block]
        yield pieceItem(sent.number, sent.at, sent.bytes)
        reached = piece.at + piece.bytes
      }
      yield* told(view, version, reached, end)
    }
    view.assertKept()
  } catch (error) {
    if (!isCode(error, 'damaged')) throw error
    return yield damageItem(error.message)
  }
  yield endItem()
}

async function* told(view: View, version: VersionRow, start: number, end: number): AsyncGenerator<Buffer> {
  if (start === end) return
  for await (const bytes of filled(view.read(version, start, end))) yield* [bytesHead(bytes.length), bytes]
}

/** The chunk, if all of it is asked for. */
const wholeChunk =
  ({ start, end }: { readonly start: number; readonly end: number }) =>
  ({ source, cut, at, bytes }: Piece): ChunkId[] =>
    'chunk' in source && !cut && at >= start && at + bytes <= end ? [source.chunk] : []

interface Sent {
  readonly number: number
  readonly at: number
  readonly bytes: number
}

/** Blocks that went out as they rest, as far as their receiver keeps them. */
export class SentBlocks {
  readonly #view: View
  readonly #wanted: ReadonlySet<ChunkId>
  readonly #chunks = new Map<ChunkId, Sent>()
  readonly #kept: RestingBlock[] = []
  /** Places of blocks that went out, or may not. */
  readonly #settled = new Set<string>()
  #next = 0

  constructor(view: View, wanted: ReadonlySet<ChunkId>) {
    this.#view = view
    this.#wanted = wanted
  }

  /** Where the chunk stands in a block that went out; with `block` in one that has to go out now. */
  async find(id: ChunkId, bytes: number): Promise<(Sent & { readonly block?: Buffer }) | undefined> {
    const known = this.#chunks.get(id)
    if (known !== undefined) return known.bytes === bytes ? known : undefined
    const block = await this.#view.block(id)
    if (block === undefined || this.#settled.has(block.place)) return undefined
    this.#settled.add(block.place)
    const entry = block.entries.find((one) => one.id === id && one.bytes === bytes)
    if (entry === undefined || !block.entries.every((one) => this.#wanted.has(one.id))) return undefined
    const number = this.#keep(block)
    return { number, at: entry.at, bytes, block: block.bytes }
  }

  #keep(block: RestingBlock): number {
    const number = this.#next++
    for (const { id, at, bytes } of block.entries) this.#chunks.set(id, { number, at, bytes })
    this.#kept.push(block)
    const gone = this.#kept.length > blocksKept ? this.#kept.shift() : undefined
    for (const { id } of gone?.entries ?? []) {
      if ((this.#chunks.get(id)?.number ?? number) <= number - blocksKept) this.#chunks.delete(id)
    }
    return number
  }
}

function rangeOf(view: View, { path, at, bytes }: ReadRequest): Range {
  const version = fileVersion(view, view.find(path))
  const size = version.bytes
  if (at + bytes > size) {
    throw new TidemarkError('bad-request', {
      message: `${JSON.stringify(displayName(path))} has ${size} bytes at this point; ${bytes} from ${at} were asked for`,
      hint: 'ask for the manifest of the same point',
    })
  }
  return { version, start: at, end: at + bytes }
}

export function fileVersion(view: View, { path, node, type }: Found): VersionRow {
  const version = view.version(node)
  if (type !== 'file' || version === undefined) {
    throw new TidemarkError('bad-request', {
      message: `${JSON.stringify(displayName(path))} is a ${type}, it has no bytes`,
      hint: 'name a file',
    })
  }
  return version
}
