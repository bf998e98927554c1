import { Malformed } from '../../base/bytes.ts'
import { type BinaryString, fromBuffer, type TreePath, treePath } from '../../model/path.ts'

/**
 * The archives of a base backup: ustar as PostgreSQL writes it, in blocks of 512 bytes, a header before each entry.
 *    0 100 name, ends in a zero byte; of a directory with a `/` before it; some begin with `./`
 *  100   8 mode    108 8 uid    116 8 gid    124 12 size    136 12 modification time, seconds    148 8 checksum
 *  156   1 type: 0 file, 5 directory, 2 symlink      157 100 target of a symlink
 *  257   8 magic: "ustar", zero, "00"                345 155 prefix, never used
 * Numbers are octal digits, blanks and zeros around them; or the first bit is set and the rest is binary. Content follows,
 * padded with zeros to whole blocks. Two blocks of zeros end an archive, from version 15 on.
 * Anything else, such as names over 99 bytes, PostgreSQL refuses to write, and this to read (`Malformed`).
 */
export interface TarEntry {
  readonly type: 'file' | 'directory' | 'symlink'
  readonly path: TreePath
  /** Of a file's content. */
  readonly bytes: number
  /** The low twelve bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly modifiedNs: bigint
  /** Of a symlink; empty for others. */
  readonly target: BinaryString
}

/** An entry, then its content: a file has at least one `data`, and its last has `isLast`. */
export type TarItem =
  | { readonly kind: 'entry'; readonly entry: TarEntry }
  | { readonly kind: 'data'; readonly bytes: Buffer; readonly isLast: boolean }

const blockBytes = 512
const endBlocks = 2
const empty = Buffer.alloc(0)
const types: Record<string, TarEntry['type']> = { '0': 'file', '2': 'symlink', '5': 'directory' }
const sizeMax = 2 ** 50

export class TarReader {
  readonly #header = Buffer.alloc(blockBytes)
  #headerBytes = 0
  #contentLeft = 0
  #paddingLeft = 0
  #endBlocks = 0

  /** The archive is over; `isTerminated`: it has to end in blocks of zeros. */
  end(isTerminated: boolean): void {
    if (this.#headerBytes + this.#contentLeft + this.#paddingLeft > 0) throw new Malformed('an archive that is cut off')
    if (isTerminated && this.#endBlocks < endBlocks) throw new Malformed('an archive without its end')
  }

  /** Items of `bytes`, the next stretch of the archive; `data` are views of it. All of them have to be taken. */
  *read(bytes: Buffer): Generator<TarItem, void, void> {
    let at = 0
    while (at < bytes.length) {
      if (this.#contentLeft > 0) {
        const taken = Math.min(this.#contentLeft, bytes.length - at)
        this.#contentLeft -= taken
        yield { kind: 'data', bytes: bytes.subarray(at, at + taken), isLast: this.#contentLeft === 0 }
        at += taken
      } else if (this.#paddingLeft > 0) {
        const taken = Math.min(this.#paddingLeft, bytes.length - at)
        this.#paddingLeft -= taken
        at += taken
      } else {
        const taken = bytes.copy(this.#header, this.#headerBytes, at, at + blockBytes - this.#headerBytes)
        this.#headerBytes += taken
        at += taken
        if (this.#headerBytes === blockBytes) yield* this.#begin()
      }
    }
  }

  *#begin(): Generator<TarItem, void, void> {
    this.#headerBytes = 0
    if (this.#header.every((byte) => byte === 0)) {
      this.#endBlocks++
      return
    }
    if (this.#endBlocks > 0) throw new Malformed('an archive that goes on after its end')
    const entry = readHeader(this.#header)
    this.#contentLeft = entry.bytes
    this.#paddingLeft = (blockBytes - (entry.bytes % blockBytes)) % blockBytes
    yield { kind: 'entry', entry }
    if (entry.type === 'file' && entry.bytes === 0) yield { kind: 'data', bytes: empty, isLast: true }
  }
}

function readHeader(header: Buffer): TarEntry {
  if (number(header, 148, 8) !== checksum(header)) throw new Malformed('an archive with a damaged header')
  if (header.toString('latin1', 257, 265) !== 'ustar\x0000') throw new Malformed('an archive that is not ustar')
  const letter = String.fromCharCode(header[156] as number)
  const type = types[letter]
  if (type === undefined) throw new Malformed(`an entry of type ${JSON.stringify(letter)} in an archive`)
  if (header[345] !== 0) throw new Malformed('a name in two parts in an archive')
  const bytes = number(header, 124, 12)
  if (bytes > sizeMax || (type !== 'file' && bytes !== 0)) throw new Malformed(`a ${type} of ${bytes} bytes`)
  const target = text(header, 157, 100)
  if ((type === 'symlink') !== (target !== '')) throw new Malformed(`a ${type} with the target "${target}"`)
  const name = text(header, 0, 100).replace(/^\.\//, '')
  const path = treePath(type === 'directory' ? name.replace(/\/$/, '') : name)
  if (path === '') throw new Malformed('an entry without a name in an archive')
  return {
    type,
    path,
    bytes,
    mode: number(header, 100, 8) & 0o7777,
    uid: number(header, 108, 8),
    gid: number(header, 116, 8),
    modifiedNs: BigInt(number(header, 136, 12)) * 1_000_000_000n,
    target,
  }
}

/** The sum of all bytes, those of the checksum itself taken for blanks. */
function checksum(header: Buffer): number {
  let sum = 8 * 0x20
  for (let at = 0; at < blockBytes; at++) if (at < 148 || at >= 156) sum += header[at] as number
  return sum
}

function number(header: Buffer, start: number, length: number): number {
  const field = header.subarray(start, start + length)
  if (((field[0] as number) & 0x80) === 0) {
    const digits = /^[ 0]*([0-7]*)[ \0]*$/.exec(field.toString('latin1'))
    if (!digits) throw new Malformed(`a number at ${start} of a header in an archive`)
    return digits[1] === '' ? 0 : Number.parseInt(digits[1] as string, 8)
  }
  let value = (field[0] as number) & 0x7f
  for (const byte of field.subarray(1)) value = value * 256 + byte
  if (!Number.isSafeInteger(value)) throw new Malformed(`a number at ${start} of a header in an archive is too large`)
  return value
}

function text(header: Buffer, start: number, length: number): BinaryString {
  const field = header.subarray(start, start + length)
  const end = field.indexOf(0)
  if (end < 0) throw new Malformed('a name in an archive that is too long')
  return fromBuffer(field.subarray(0, end))
}
