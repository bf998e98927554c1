import { assert } from '../../base/assert.ts'
import type { VolumeRecord } from '../../format/volume-log.ts'

/** Of records that touch a region while it is read, kept until it has come; beyond it the region is read again. */
const keptBytesMax = 4 * 1024 * 1024
export const copyChunkBytes = 64 * 1024

interface Touch {
  readonly at: number
  readonly bytes: number
  /** Absent: zeros. */
  readonly data: Uint8Array | undefined
}

/**
 * A region on its way from the volume into the journal. From its beginning on it is told of every record that comes into the
 * journal, and puts those that touch it over what was read; so when it is written it holds them all. Once its chunks have
 * been named, they are changed in copies: those that were offered stay what they were.
 */
export class Flight {
  readonly at: number
  readonly bytes: number
  /** The last record in the journal when the flight began: what is read holds it and all before. */
  readonly from: number
  #touches: Touch[] | undefined = []
  #keptBytes = 0
  #isLost = false
  #content: Uint8Array | undefined
  #isNamed = false
  readonly #changed = new Map<number, Uint8Array>()

  constructor(at: number, bytes: number, from: number) {
    this.at = at
    this.bytes = bytes
    this.from = from
  }

  /** More has touched it while it was read than is kept: it has to be read again. */
  get isLost(): boolean {
    return this.#isLost
  }

  /** Undefined: zeros. The bytes belong to the flight from now on. */
  arrived(content: Uint8Array | undefined): void {
    assert(content === undefined || content.length === this.bytes, 'a region comes whole')
    this.#content = content
    const touches = this.#touches ?? []
    this.#touches = undefined
    for (const touch of touches) this.#put(touch)
  }

  /** Its content in chunks, the last of which may be shorter; undefined for one of zeros. They are not changed any more. */
  named(): readonly (Uint8Array | undefined)[] {
    this.#isNamed = true
    return this.#chunks()
  }

  /** Numbers of the chunks that were touched since they were named, with what they hold now. */
  get changed(): ReadonlyMap<number, Uint8Array> {
    return this.#changed
  }

  touch(record: VolumeRecord): void {
    if (record.kind !== 'write' && record.kind !== 'zero' && record.kind !== 'trim') return
    const length = record.kind === 'write' ? record.data.length : record.bytes
    const at = Math.max(record.at, this.at)
    const bytes = Math.min(record.at + length, this.at + this.bytes) - at
    if (bytes <= 0) return
    const data = record.kind === 'write' ? record.data.subarray(at - record.at, at - record.at + bytes) : undefined
    if (this.#touches === undefined) return this.#put({ at, bytes, data })
    this.#keptBytes += data?.length ?? 64
    if (this.#keptBytes > keptBytesMax) {
      this.#isLost = true
      this.#touches = []
    }
    if (!this.#isLost) this.#touches.push({ at, bytes, data: data && Uint8Array.from(data) })
  }

  #put({ at, bytes, data }: Touch): void {
    if (this.#isNamed) return this.#putIntoCopies({ at, bytes, data })
    if (this.#content === undefined && data === undefined) return
    this.#content ??= new Uint8Array(this.bytes)
    put(this.#content, at - this.at, bytes, data)
  }

  #putIntoCopies({ at, bytes, data }: Touch): void {
    const start = at - this.at
    const end = start + bytes
    for (let index = Math.floor(start / copyChunkBytes); index * copyChunkBytes < end; index++) {
      const chunkAt = index * copyChunkBytes
      const chunk = this.#changed.get(index) ?? this.#copy(index)
      const from = Math.max(start, chunkAt)
      const to = Math.min(end, chunkAt + chunk.length)
      put(chunk, from - chunkAt, to - from, data?.subarray(from - start, to - start))
      this.#changed.set(index, chunk)
    }
  }

  #copy(index: number): Uint8Array {
    const at = index * copyChunkBytes
    const bytes = Math.min(copyChunkBytes, this.bytes - at)
    return this.#content === undefined ? new Uint8Array(bytes) : Uint8Array.from(this.#content.subarray(at, at + bytes))
  }

  #chunks(): (Uint8Array | undefined)[] {
    const chunks: (Uint8Array | undefined)[] = []
    for (let at = 0; at < this.bytes; at += copyChunkBytes) {
      const chunk = this.#content?.subarray(at, Math.min(at + copyChunkBytes, this.bytes))
      chunks.push(chunk === undefined || isZeros(chunk) ? undefined : chunk)
    }
    return chunks
  }
}

function put(into: Uint8Array, at: number, bytes: number, data: Uint8Array | undefined): void {
  if (data === undefined) into.fill(0, at, at + bytes)
  else into.set(data, at)
}

const zeros = Buffer.alloc(copyChunkBytes)

export const isZeros = (bytes: Uint8Array): boolean => zeros.compare(bytes, 0, bytes.length, 0, bytes.length) === 0

/** All that is on its way. */
export class Flights {
  readonly #flights = new Set<Flight>()

  begin(at: number, bytes: number, from: number): Flight {
    const flight = new Flight(at, bytes, from)
    this.#flights.add(flight)
    return flight
  }

  end(flight: Flight): void {
    this.#flights.delete(flight)
  }

  clear(): void {
    this.#flights.clear()
  }

  /** Before the first change of the record is written. */
  touch(record: VolumeRecord): void {
    for (const flight of this.#flights) flight.touch(record)
  }
}
