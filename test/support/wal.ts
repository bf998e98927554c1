import { crc32c } from '../../src/base/crc32c.ts'
import { type Lsn, lsn } from '../../src/model/lsn.ts'

/** PostgreSQL's WAL, made by hand: pages and records as a server of that version would have written them. */

const magics = { 12: 0xd101, 13: 0xd106, 14: 0xd10d, 15: 0xd110, 16: 0xd113, 17: 0xd116, 18: 0xd118 } as const
export type WalMajor = keyof typeof magics
export const walMajors = [12, 13, 14, 15, 16, 17, 18] as const

const pageBytes = 8192

export class WalBuilder {
  readonly major: WalMajor
  readonly segmentBytes: number
  readonly start: Lsn
  timeline = 1
  systemIdentifier = 7_600_000_000_000_000_001n
  readonly #pages: Buffer[] = []
  #at: number
  #previous: number

  /** From the start of a segment on. */
  constructor(major: WalMajor, { start = 0x1000000, segmentBytes = 1 << 20 } = {}) {
    this.major = major
    this.segmentBytes = segmentBytes
    this.start = lsn(start)
    this.#at = start
    this.#previous = start - 128
  }

  /** Where the next record starts. */
  get position(): Lsn {
    this.#openPage()
    return lsn(this.#at)
  }

  /** Where the last record ends, which is not behind the header of the next page. */
  get end(): Lsn {
    return lsn(this.#at)
  }

  /** All that was written, up to there. */
  get bytes(): Buffer {
    return Buffer.concat(this.#pages).subarray(0, this.#at - this.start)
  }

  /** Returns where the record starts. */
  record(manager: number, flags: number, body: Uint8Array, { xid = 0, previous = this.#previous } = {}): Lsn {
    const start = this.position
    this.#write(encode(manager, flags, body, xid, previous))
    this.#at += (8 - (this.#at % 8)) % 8
    this.#previous = start
    return start
  }

  /** A record of which a crash left what fits on its page; the next page says that it is overwritten. */
  tornRecord(bodyBytes: number): Lsn {
    const start = this.position
    const room = pageBytes - (start % pageBytes)
    this.#write(encode(10, 0, new Uint8Array(bodyBytes), 7, this.#previous).subarray(0, room))
    this.#openPage({ flags: 8 })
    return start
  }

  /** A segment switch: the rest of the segment is not used. */
  switchSegment(): Lsn {
    const start = this.record(0, 0x40, new Uint8Array())
    while (this.#at % this.segmentBytes !== 0) {
      if (this.#at % pageBytes === 0) this.#pages.push(Buffer.alloc(pageBytes))
      this.#at += pageBytes - (this.#at % pageBytes)
    }
    return start
  }

  #write(bytes: Buffer): void {
    for (let done = 0; done < bytes.length;) {
      this.#openPage({ left: done === 0 ? 0 : bytes.length - done })
      const inPage = this.#at % pageBytes
      const count = Math.min(pageBytes - inPage, bytes.length - done)
      this.#pages.at(-1)?.set(bytes.subarray(done, done + count), inPage)
      done += count
      this.#at += count
    }
  }

  #openPage({ left = 0, flags = 0 } = {}): void {
    if (this.#at % pageBytes !== 0) return
    const first = this.#at % this.segmentBytes === 0
    const page = Buffer.alloc(pageBytes)
    page.writeUInt16LE(magics[this.major], 0)
    page.writeUInt16LE(flags | (left > 0 ? 1 : 0) | (first ? 2 : 0), 2)
    page.writeUInt32LE(this.timeline, 4)
    page.writeBigUInt64LE(BigInt(this.#at), 8)
    page.writeUInt32LE(left, 16)
    if (first) {
      page.writeBigUInt64LE(this.systemIdentifier, 24)
      page.writeUInt32LE(this.segmentBytes, 32)
      page.writeUInt32LE(pageBytes, 36)
    }
    this.#pages.push(page)
    this.#at += first ? 40 : 24
  }
}

function encode(manager: number, flags: number, body: Uint8Array, xid: number, previous: number): Buffer {
  const whole = Buffer.alloc(24 + body.length)
  whole.writeUInt32LE(whole.length, 0)
  whole.writeUInt32LE(xid, 4)
  whole.writeBigUInt64LE(BigInt(previous), 8)
  whole[16] = flags
  whole[17] = manager
  whole.set(body, 24)
  whole.writeUInt32LE(crc32c(whole, 0, 20, crc32c(body)), 20)
  return whole
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

/** Microseconds since 1970 as PostgreSQL has them, since 2000. */
const time = (microseconds: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(BigInt(microseconds) - 946_684_800_000_000n)
  return bytes
}

export const mainData = (data: Uint8Array): Buffer =>
  data.length < 256
    ? Buffer.concat([Buffer.of(255, data.length), data])
    : Buffer.concat([Buffer.of(254), u32(data.length), data])

export interface CommitBody {
  readonly time: number
  readonly database?: number
  readonly subtransactions?: number
  readonly files?: number
  readonly statistics?: number
  readonly invalidations?: number
  readonly prepared?: { readonly xid: number; readonly gid?: string }
}

/** The body of a commit, and the flag that goes with it. */
export function commitBody(major: WalMajor, commit: CommitBody): { flags: number; body: Buffer } {
  const parts: Buffer[] = []
  let contents = 0
  const list = (bit: number, count: number | undefined, itemBytes: number): void => {
    if (count === undefined) return
    contents |= bit
    parts.push(u32(count), Buffer.alloc(count * itemBytes, 0xab))
  }
  if (commit.database !== undefined) {
    contents |= 1
    parts.push(u32(commit.database), u32(1663))
  }
  list(2, commit.subtransactions, 4)
  list(4, commit.files, 12)
  if (major >= 15) list(0x100, commit.statistics, major >= 18 ? 16 : 12)
  list(8, commit.invalidations, 16)
  if (commit.prepared) {
    contents |= 16
    parts.push(u32(commit.prepared.xid))
    if (commit.prepared.gid !== undefined) {
      contents |= 0x80
      parts.push(Buffer.from(`${commit.prepared.gid}\0`))
    }
  }
  const told = contents === 0 ? [] : [u32(contents), ...parts]
  return { flags: contents === 0 ? 0 : 0x80, body: mainData(Buffer.concat([time(commit.time), ...told])) }
}

export function restorePointBody(name: string, at: number): Buffer {
  const data = Buffer.alloc(72)
  data.set(time(at))
  data.write(name, 8)
  return mainData(data)
}

export function overwriteBody(overwritten: Lsn, at: number): Buffer {
  const place = Buffer.alloc(8)
  place.writeBigUInt64LE(BigInt(overwritten))
  return mainData(Buffer.concat([place, time(at)]))
}
