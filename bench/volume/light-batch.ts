import { diskPath } from '../../src/format/volume-tree.ts'
import { blockBytes, blockOf, changeOf } from '../dataset/volume-writes.ts'

const began = 1_700_000_000_000_000
const microsecondsApart = 20

/** The moment of a change. */
export const momentOf = (change: number): number => began + change * microsecondsApart

/**
 * A batch of writes as src/format/batch.ts tells it, for data that is zeros but for eight bytes a block: the zstd frame (RFC 8878)
 * is put together here, one block of it as it is and one that says "so many zeros" for each write. So 50 million writes are
 * made, and decompressed, at little cost; the records of the journal are as real as any.
 */
export function lightBatch(firstWrite: number, count: number): Buffer {
  const frame = Buffer.alloc(128 + count * 64)
  let at = 5
  let bodyBytes = 0
  let blockAt = 0
  const u8 = (value: number): void => void (frame[at++] = value)
  const varint = (value: number): void => {
    let rest = value
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) u8((rest % 0x80) | 0x80)
    u8(rest)
  }
  const beginBlock = (): void => {
    blockAt = at
    at += blockHeadBytes
  }
  /** What was written since `beginBlock`, then zeros. */
  const endBlock = (zeros: number, isLast: boolean): void => {
    const bytes = at - blockAt - blockHeadBytes
    frame.writeUIntLE(bytes << 3, blockAt, blockHeadBytes)
    frame.writeUIntLE((zeros << 3) | repeated | (isLast ? 1 : 0), at, blockHeadBytes)
    at += blockHeadBytes + 1
    bodyBytes += bytes + zeros
  }
  frame.writeUInt32LE(0xfd2fb528, at)
  frame[at + 4] = singleSegmentOfFourBytes
  const lengthAt = at + 5
  at += 9
  beginBlock()
  for (const value of [1, 1]) u8(value)
  for (const value of [changeOf(firstWrite), count, momentOf(changeOf(firstWrite)), 0]) varint(value)
  for (let write = firstWrite; write < firstWrite + count; write++) {
    if (write > firstWrite) beginBlock()
    varint(write === firstWrite ? 0 : microsecondsApart)
    u8(writeKind)
    varint(diskPath.length)
    at += frame.write(diskPath, at, 'latin1')
    varint(blockOf(write) * blockBytes)
    varint(blockBytes)
    at = frame.writeDoubleBE(write + 1, at)
    endBlock(blockBytes - markBytes, write === firstWrite + count - 1)
  }
  frame.writeUInt32LE(bodyBytes, lengthAt)
  frame[0] = 1
  frame.writeUInt32BE(bodyBytes, 1)
  return frame.subarray(0, at)
}

const blockHeadBytes = 3
const repeated = 1 << 1
const singleSegmentOfFourBytes = 0xa0
const writeKind = 6
const markBytes = 8
