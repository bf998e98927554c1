/** What the bytes of a row are. */
export const standsInChange = 0
export const isZeros = 1
export const isChunk = 2

/**
 * A page of a run: rows ascending by (at, since), each column apart and as narrow as it can be, so that a row of a
 * database's disk takes 6 to 10 bytes. Numbers are in the order of this machine's memory, as an index stays on it.
 *
 *    0  2  count of rows
 *    2  1  `at` is counted in units of 2 to the power of this
 *    3  1  width of `at`: 2, 4 or 8 bytes (8: a double), counted from that of the first row
 *    4  1  width of `since`: the same, counted from the smallest
 *    5  1  width of `bytes`: 0 where all have those at 24, else 4
 *    6  1  width of the kind: 0 where all have that at 7, else 1
 *    7  1  kind of all
 *    8  8  `at` of the first row, a double
 *   16  8  smallest `since`, a double
 *   24  4  `bytes` of all
 *   28  4  0
 *   32     the columns `at`, `since`, `bytes`, kind, each from a multiple of 8 on
 */
const headerBytes = 32
const unitShiftMax = 20

/** Rows of a run in memory, each column apart. */
export class Rows {
  at: Float64Array<ArrayBuffer>
  since: Float64Array<ArrayBuffer>
  bytes: Uint32Array<ArrayBuffer>
  kind: Uint8Array<ArrayBuffer>
  count = 0

  constructor(capacity: number) {
    this.at = new Float64Array(capacity)
    this.since = new Float64Array(capacity)
    this.bytes = new Uint32Array(capacity)
    this.kind = new Uint8Array(capacity)
  }

  push(at: number, since: number, bytes: number, kind: number): void {
    const { count } = this
    if (count === this.at.length) this.#grow()
    this.at[count] = at
    this.since[count] = since
    this.bytes[count] = bytes
    this.kind[count] = kind
    this.count++
  }

  /** Numbers of the rows in the order of `at`; those of one `at` in the order in which they came. */
  ascending(): Uint32Array {
    const { at, count } = this
    return Uint32Array.from({ length: count }, (_, row) => row).sort(
      (a, b) => (at[a] as number) - (at[b] as number) || a - b,
    )
  }

  #grow(): void {
    const capacity = Math.max(64, this.at.length * 2)
    const { at, since, bytes, kind } = this
    this.at = new Float64Array(capacity)
    this.since = new Float64Array(capacity)
    this.bytes = new Uint32Array(capacity)
    this.kind = new Uint8Array(capacity)
    this.at.set(at)
    this.since.set(since)
    this.bytes.set(bytes)
    this.kind.set(kind)
  }
}

/** `rows` are in the order of a page already, and at least one. */
export function encodePage({ at, since, bytes, kind, count }: Rows): Uint8Array {
  const first = at[0] as number
  let apart = 0
  let sinceMin = Infinity
  let sinceMax = 0
  let isOneLength = true
  let isOneKind = true
  for (let row = 0; row < count; row++) {
    apart |= lowBits((at[row] as number) - first)
    sinceMin = Math.min(sinceMin, since[row] as number)
    sinceMax = Math.max(sinceMax, since[row] as number)
    isOneLength &&= bytes[row] === bytes[0]
    isOneKind &&= kind[row] === kind[0]
  }
  const shift = apart === 0 ? unitShiftMax : Math.min(unitShiftMax, 31 - Math.clz32(apart & -apart))
  const unit = 2 ** shift
  const atWidth = widthOf(((at[count - 1] as number) - first) / unit)
  const sinceWidth = widthOf(sinceMax - sinceMin)
  const bytesWidth = isOneLength ? 0 : 4
  const kindWidth = isOneKind ? 0 : 1
  const places = columnsOf(count, atWidth, sinceWidth, bytesWidth)
  const page = new Uint8Array(places.kind + count * kindWidth)
  const header = new DataView(page.buffer)
  header.setUint16(0, count, isLittle)
  page.set([shift, atWidth, sinceWidth, bytesWidth, kindWidth, kind[0] as number], 2)
  header.setFloat64(8, first, isLittle)
  header.setFloat64(16, sinceMin, isLittle)
  header.setUint32(24, bytes[0] as number, isLittle)
  const ats = column(page, places.at, atWidth, count)
  const sinces = column(page, places.since, sinceWidth, count)
  for (let row = 0; row < count; row++) {
    ats[row] = ((at[row] as number) - first) / unit
    sinces[row] = (since[row] as number) - sinceMin
  }
  if (!isOneLength) new Uint32Array(page.buffer, places.bytes, count).set(bytes.subarray(0, count))
  if (!isOneKind) page.set(kind.subarray(0, count), places.kind)
  return page
}

/** The rows of a page again, looked at where they are. */
export class Page {
  readonly count: number
  readonly #at: Column
  readonly #since: Column
  readonly #bytes: Uint32Array | undefined
  readonly #kind: Uint8Array | undefined
  readonly #unit: number
  readonly #first: number
  readonly #sinceMin: number
  readonly #bytesOfAll: number
  readonly #kindOfAll: number

  constructor(stored: Uint8Array) {
    // Columns have to begin where numbers may in memory.
    const page = stored.byteOffset % 8 === 0 ? stored : Uint8Array.from(stored)
    const header = new DataView(page.buffer, page.byteOffset, headerBytes)
    this.count = header.getUint16(0, isLittle)
    const atWidth = header.getUint8(3)
    const sinceWidth = header.getUint8(4)
    const places = columnsOf(this.count, atWidth, sinceWidth, header.getUint8(5))
    this.#unit = 2 ** header.getUint8(2)
    this.#first = header.getFloat64(8, isLittle)
    this.#sinceMin = header.getFloat64(16, isLittle)
    this.#bytesOfAll = header.getUint32(24, isLittle)
    this.#kindOfAll = header.getUint8(7)
    this.#at = column(page, places.at, atWidth, this.count)
    this.#since = column(page, places.since, sinceWidth, this.count)
    if (header.getUint8(5) !== 0) this.#bytes = new Uint32Array(page.buffer, page.byteOffset + places.bytes, this.count)
    if (header.getUint8(6) !== 0) this.#kind = page.subarray(places.kind, places.kind + this.count)
  }

  at(row: number): number {
    return this.#first + (this.#at[row] as number) * this.#unit
  }

  since(row: number): number {
    return this.#sinceMin + (this.#since[row] as number)
  }

  bytes(row: number): number {
    return this.#bytes === undefined ? this.#bytesOfAll : (this.#bytes[row] as number)
  }

  kind(row: number): number {
    return this.#kind === undefined ? this.#kindOfAll : (this.#kind[row] as number)
  }

  /** The first row that begins at `at` or behind it; `count` where there is none. */
  firstFrom(at: number): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.at(middle) < at) low = middle + 1
      else high = middle
    }
    return low
  }
}

type Column = Uint16Array | Uint32Array | Float64Array

const isLittle = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** The bits of a number that tell by what power of two it can be divided, as far as `unitShiftMax`. */
const lowBits = (value: number): number => value % 2 ** (unitShiftMax + 1)

const widthOf = (largest: number): number => {
  if (largest <= 0xff_ff) return 2
  return largest <= 0xff_ff_ff_ff ? 4 : 8
}

function columnsOf(count: number, atWidth: number, sinceWidth: number, bytesWidth: number) {
  const since = headerBytes + padded(count * atWidth)
  const bytes = since + padded(count * sinceWidth)
  return { at: headerBytes, since, bytes, kind: bytes + padded(count * bytesWidth) }
}

const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8

function column(page: Uint8Array, place: number, width: number, count: number): Column {
  const begin = page.byteOffset + place
  if (width === 2) return new Uint16Array(page.buffer, begin, count)
  return width === 4 ? new Uint32Array(page.buffer, begin, count) : new Float64Array(page.buffer, begin, count)
}
