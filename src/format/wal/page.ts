/**
 * A page of PostgreSQL's WAL: 8192 bytes, little-endian, as src/include/access/xlog_internal.h has it. It starts with
 *
 *    0  2  magic: says the major version of the server
 *    2  2  flags: 1 a record of the page before goes on here, 2 long header, 4 a hint, 8 the record that should go on here was
 *          cut short by a crash and is overwritten
 *    4  4  timeline
 *    8  8  LSN of this page
 *   16  4  bytes of the record of the page before that are still to come, without further page headers
 *   20  4  nothing
 * and, on the first page of a segment (the long header):
 *   24  8  system identifier of the cluster
 *   32  4  bytes of a segment
 *   36  4  bytes of a page
 *
 * Records follow, each at a multiple of 8. What does not fit goes on behind the next page's header.
 */
export const pageBytes = 8192
export const shortHeaderBytes = 24
export const longHeaderBytes = 40

export const continues = 0x1
export const longHeader = 0x2
export const overwritesContinuation = 0x8
export const pageFlags = 0xf

const majors = new Map([
  [0xd101, 12],
  [0xd106, 13],
  [0xd10d, 14],
  [0xd110, 15],
  [0xd113, 16],
  [0xd116, 17],
  [0xd118, 18],
])

/** The major version of the server that writes pages of this magic number, where it is known. */
export const majorOfMagic = (magic: number): number | undefined => majors.get(magic)

/**
 * A record starts with
 *
 *    0  4  bytes of the whole record, without page headers and padding; never split between pages
 *    4  4  xid
 *    8  8  LSN of the record before
 *   16  1  flags; the upper four bits belong to the resource manager
 *   17  1  resource manager
 *   18  2  nothing
 *   20  4  CRC-32C of what follows the header, and then of the first 20 bytes
 */
export const recordHeaderBytes = 24
export const recordChecksumAt = 20
/** No server writes a longer one: what is made of it in memory is limited to 1 GiB. */
export const recordBytesMax = 1 << 30
