import type { Wake } from '../../base/wake.ts'
import type { Chunk } from '../../format/block.ts'
import type { ChunkId, Extent, Range } from '../../model/change.ts'
import { BulkOffers } from '../bulk-offers.ts'
import type { CaptureOutput } from '../capture.ts'
import type { ChunkIds } from '../chunk-ids.ts'
import type { Conversation } from './conversation.ts'
import { copyChunkBytes, type Flight, type Flights, isZeros } from './flights.ts'
import type { Journal, Patch } from './journal.ts'
import type { ServerLink } from './server-link.ts'

export interface CopierParts {
  readonly journal: Journal
  readonly flights: Flights
  readonly link: ServerLink
  readonly conversation: Conversation
  readonly ids: ChunkIds
  readonly hand: (offer: Extract<CaptureOutput, { kind: 'offer' }>) => void
  /** Tags of offers count on over all copiers of one capture. */
  readonly nextTag: () => number
  /** Whether everything is to be copied once what is under way is done; taken back when that begins. */
  readonly wanted: { isEverything: boolean }
  /** Resolves when another part may be written. */
  readonly room: () => Promise<void>
  /** Woken when the journal, or anything else that is waited for, has gone on. */
  readonly changed: Wake
  readonly signal: AbortSignal
}

/** What one change brings. */
const pieceBytes = 1024 * 1024
/** Pieces that are being read. */
const readsMax = 4
/** So much of nothing is noted as passed. */
const emptyBytesMax = 1024 * 1024 * 1024

interface Piece extends Range {
  /** The copy of the whole volume has come so far with it. */
  readonly upTo?: number
  /** It is the last one of this touched region, whose reading began at the record `from`. */
  readonly healed?: { readonly region: number; readonly from: number }
  readonly isOntoZeros: boolean
}

interface Item {
  readonly piece: Piece
  /** Absent where there is nothing to write. */
  readonly read?: { readonly flight: Flight; readonly ids: readonly (ChunkId | undefined)[] }
}

/**
 * Copies the volume, or what was touched of it, into the journal while the log goes on. That each part is right from the
 * change on that brings it is shown at the engine.
 */
export class Copier {
  readonly #parts: CopierParts
  readonly #offers: BulkOffers<Item>

  constructor(parts: CopierParts) {
    this.#parts = parts
    const { hand, room, nextTag, signal } = parts
    this.#offers = new BulkOffers({ hand, write: (item, missing) => this.#put(item, missing), room, nextTag, signal })
  }

  answer(tag: number, missing: readonly boolean[]): void {
    this.#offers.answer(tag, missing)
  }

  /** The vault is reached again. */
  askAgain(): void {
    this.#offers.askAgain()
  }

  async run(): Promise<void> {
    const { journal, conversation, wanted, changed, signal } = this.#parts
    for (;;) {
      await this.#heal()
      do {
        await this.#copy()
        await changed.until(() => (journal.isWithinRecord ? undefined : true), signal)
      } while (this.#left > 0)
      journal.complete(journal.place.number === conversation.durable)
      changed.wake()
      await changed.until(() => (wanted.isEverything || journal.place.copy !== undefined ? true : undefined), signal)
      // What was asked for while the volume grew is done once that has been copied.
      if (journal.place.copy !== undefined) continue
      journal.beginCopy()
      wanted.isEverything = false
    }
  }

  get #left(): number {
    const { copy, bytes } = this.#parts.journal.place
    return copy === undefined ? 0 : bytes - copy.at
  }

  async #heal(): Promise<void> {
    const { conversation, journal } = this.#parts
    for (let from: number | undefined = 0; from !== undefined;) {
      const { regions, next } = await conversation.touched(from)
      await this.#write(this.#touched(regions, journal.number))
      from = next
    }
    await this.#offers.flush()
  }

  *#touched(regions: readonly number[], from: number): Generator<Piece> {
    const { regionBytes } = this.#parts.link.volume
    const { bytes } = this.#parts.journal.place
    for (const region of regions) {
      const end = Math.min(bytes, (region + 1) * regionBytes)
      for (let at = region * regionBytes; at < end; at += pieceBytes) {
        const length = Math.min(pieceBytes, end - at)
        const healed = at + length === end ? { healed: { region, from } } : {}
        yield { at, bytes: length, isOntoZeros: false, ...healed }
      }
    }
  }

  async #copy(): Promise<void> {
    const { journal } = this.#parts
    const { copy, bytes } = journal.place
    if (copy === undefined) return
    await this.#write(this.#pieces(copy.at, bytes, copy.isOntoZeros))
    await this.#offers.flush()
    journal.copiedTo(bytes)
  }

  *#pieces(from: number, end: number, isOntoZeros: boolean): Generator<Piece> {
    for (let at = from; at < end;) {
      const bytes = Math.min(pieceBytes - (at % pieceBytes), end - at)
      yield { at, bytes, upTo: at + bytes, isOntoZeros }
      at += bytes
    }
  }

  /** In their order; some are read ahead. */
  async #write(pieces: Iterable<Piece>): Promise<void> {
    const reading: Promise<{ piece: Piece; flight: Flight }>[] = []
    let empty = 0
    const writeNext = async (): Promise<void> => {
      const next = await reading.shift()
      if (next === undefined) return
      const { piece, flight } = next
      const item = this.#item(piece, flight)
      empty = item === undefined ? empty + piece.bytes : 0
      if (item !== undefined) return await this.#offers.write(item.item, item.chunks)
      if (empty < emptyBytesMax) return
      empty = 0
      await this.#offers.write({ piece }, [])
    }
    for (const piece of pieces) {
      const read = this.#read(piece)
      // It may fail while another one is waited for; who waits for it learns it then.
      read.catch(() => undefined)
      reading.push(read)
      if (reading.length === readsMax) await writeNext()
    }
    while (reading.length > 0) await writeNext()
  }

  /** The piece with what is in it once the journal has passed everything that can have been read. */
  async #read(piece: Piece): Promise<{ piece: Piece; flight: Flight }> {
    const { link, conversation, journal, flights, changed, signal } = this.#parts
    for (;;) {
      signal.throwIfAborted()
      const flight = flights.begin(piece.at, piece.bytes, journal.number)
      const isEmpty = await link.isZeros(piece.at, piece.bytes)
      flight.arrived(isEmpty ? undefined : await link.read(piece.at, piece.bytes))
      const place = await conversation.place()
      await changed.until(() => (journal.number >= place ? true : undefined), signal)
      if (!flight.isLost) return { piece, flight }
      flights.end(flight)
    }
  }

  /** Undefined where nothing is to be written: zeros onto zeros. */
  #item(piece: Piece, flight: Flight): { item: Item; chunks: Chunk[] } | undefined {
    const { ids, flights } = this.#parts
    const named = flight.named()
    if (piece.isOntoZeros && named.every((chunk) => chunk === undefined)) {
      flights.end(flight)
      return undefined
    }
    const chunks: Chunk[] = []
    const names = named.map((data) => {
      if (data === undefined) return undefined
      const id = ids.of(data)
      chunks.push({ id, data })
      return id
    })
    return { item: { piece, read: { flight, ids: names } }, chunks }
  }

  #put({ piece, read }: Item, missing: readonly Chunk[]): void {
    const { journal, flights, changed } = this.#parts
    const patch = read ? this.#patch(piece, read, missing) : { extents: [], zeros: [], chunks: [] }
    journal.patch(patch, piece.upTo)
    if (read) flights.end(read.flight)
    if (piece.healed) journal.healing.healed(journal.sequence, piece.healed.region, piece.healed.from)
    changed.wake()
  }

  #patch({ isOntoZeros }: Piece, { flight, ids }: NonNullable<Item['read']>, missing: readonly Chunk[]): Patch {
    const extents: Extent[] = []
    const zeros: Range[] = []
    const chunks = [...missing]
    for (const [index, name] of ids.entries()) {
      const at = flight.at + index * copyChunkBytes
      const bytes = Math.min(copyChunkBytes, flight.at + flight.bytes - at)
      const changed = flight.changed.get(index)
      let id = name
      if (changed !== undefined) {
        id = isZeros(changed) ? undefined : this.#parts.ids.of(changed)
        if (id !== undefined) chunks.push({ id, data: changed })
      }
      if (id !== undefined) extents.push({ at, bytes, chunk: id })
      else if (!isOntoZeros || changed !== undefined) addRange(zeros, { at, bytes })
    }
    return { extents, zeros, chunks }
  }
}

function addRange(ranges: Range[], { at, bytes }: Range): void {
  const last = ranges.at(-1)
  if (last !== undefined && last.at + last.bytes === at)
    ranges[ranges.length - 1] = { at: last.at, bytes: last.bytes + bytes }
  else ranges.push({ at, bytes })
}
