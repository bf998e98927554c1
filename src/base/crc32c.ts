/**
 * CRC-32C (Castagnoli): the polynomial 0x1EDC6F41, bits reflected, start and end inverted. PostgreSQL's WAL has it; Node's zlib
 * knows only the other CRC-32. Eight bytes at a time, by one table for the distance of each to the end of the eight.
 */
const reflectedPolynomial = 0x82f63b78
const tables = makeTables()

/** Goes on from the checksum of the bytes before, which is 0 for none. */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, before = 0): number {
  const table = tables
  let crc = ~before
  let at = start
  for (const wide = end - 8; at <= wide; at += 8) {
    crc ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)
    crc =
      (table[0x700 | (crc & 0xff)] as number) ^
      (table[0x600 | ((crc >>> 8) & 0xff)] as number) ^
      (table[0x500 | ((crc >>> 16) & 0xff)] as number) ^
      (table[0x400 | (crc >>> 24)] as number) ^
      (table[0x300 | (bytes[at + 4] as number)] as number) ^
      (table[0x200 | (bytes[at + 5] as number)] as number) ^
      (table[0x100 | (bytes[at + 6] as number)] as number) ^
      (table[bytes[at + 7] as number] as number)
  }
  for (; at < end; at++) crc = (table[(crc ^ (bytes[at] as number)) & 0xff] as number) ^ (crc >>> 8)
  return ~crc >>> 0
}

/** The table at 256 x n is for a byte that n others follow. */
function makeTables(): Int32Array {
  const made = new Int32Array(8 * 256)
  for (let value = 0; value < 256; value++) {
    let crc = value
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ reflectedPolynomial : crc >>> 1
    made[value] = crc
  }
  for (let at = 256; at < made.length; at++) {
    const shorter = made[at - 256] as number
    made[at] = (made[shorter & 0xff] as number) ^ (shorter >>> 8)
  }
  return made
}
