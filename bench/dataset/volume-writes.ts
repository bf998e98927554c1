import { Chance } from './chance.ts'

export const blockBytes = 4096
export const volumeBytes = 100 * 1024 ** 3
const blocks = volumeBytes / blockBytes
/** Written by half of the writes. */
const hotBlocks = Math.floor(blocks / 20)
/** Written by one in fifty, as those of a file system's journal or superblock are. */
const hottest = 12_345

/** Two numbers of one generator for each write, so that any write is known without those before it. */
const drawStep = 0x6d2b79f5

/** The block that a write goes to; writes are numbered from 0. */
export function blockOf(write: number): number {
  const chance = new Chance(Math.imul(2 * write, drawStep))
  const kind = chance.below(100)
  if (kind < 2) return hottest
  return chance.below(kind < 50 ? hotBlocks : blocks)
}

/** The change of a write in the journal: the first one makes the volume. */
export const changeOf = (write: number): number => write + 2

/** What a block begins with, after a write to it; the rest is zeros. */
export function mark(block: Buffer, write: number): void {
  block.writeDoubleBE(write + 1, 0)
}

/** The write whose mark a block has; undefined for zeros. */
export function markedIn(block: Buffer): number | undefined {
  const marked = block.readDoubleBE(0)
  return marked === 0 ? undefined : marked - 1
}

export interface Wanted {
  /** Change at which it is read. */
  readonly at: number
  readonly block: number
}

/** The last write to each of the blocks at its change, by going through all of them. */
export function lastWrites(wanted: readonly Wanted[]): (number | undefined)[] {
  const found: (number | undefined)[] = wanted.map(() => undefined)
  const places = new Map<number, number[]>()
  for (const [index, { block }] of wanted.entries()) places.set(block, [...(places.get(block) ?? []), index])
  const end = Math.max(...wanted.map(({ at }) => at))
  for (let write = 0; changeOf(write) <= end; write++) {
    for (const index of places.get(blockOf(write)) ?? []) {
      if (changeOf(write) <= (wanted[index] as Wanted).at) found[index] = write
    }
  }
  return found
}
