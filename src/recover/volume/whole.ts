import { TidemarkError } from '../../base/errors.ts'
import type { Range } from '../../model/change.ts'
import type { Stretch } from './origin.ts'

/** Hands the stretches on, having made sure that they are what was asked for: every byte, once, and no other. */
export async function* wholeStretches<S extends Stretch>(
  ranges: readonly Range[],
  stretches: AsyncIterable<S>,
): AsyncGenerator<S> {
  const wanted = joined(ranges)
  const got: Range[] = []
  for await (const stretch of stretches) {
    const { at, bytes } = stretch
    const within = holding(wanted, at)
    if (bytes === 0 || within === undefined || at + bytes > within.at + within.bytes) throw foreign(stretch)
    got.push({ at, bytes })
    yield stretch
  }
  const all = joined(got)
  const isWhole =
    all.length === wanted.length && all.every(({ at, bytes }, i) => at === wanted[i]?.at && bytes === wanted[i].bytes)
  if (!isWhole) {
    throw new TidemarkError('protocol-violation', {
      message: 'the vault left out a part of what it was asked for, or told it twice',
      hint: 'try again; if this happens again, the versions of the program and of the vault do not fit',
    })
  }
}

/** Ascending, touching ones made one; those that overlap are left as they are. */
function joined(ranges: readonly Range[]): Range[] {
  const all: { at: number; bytes: number }[] = []
  for (const { at, bytes } of ranges.toSorted((a, b) => a.at - b.at)) {
    const last = all.at(-1)
    if (last !== undefined && last.at + last.bytes === at) last.bytes += bytes
    else all.push({ at, bytes })
  }
  return all
}

/** The last range that begins at or before `at`. */
function holding(ranges: readonly Range[], at: number): Range | undefined {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((ranges[middle] as Range).at <= at) low = middle + 1
    else high = middle
  }
  return ranges[low - 1]
}

const foreign = ({ at, bytes }: Stretch): TidemarkError =>
  new TidemarkError('protocol-violation', {
    message: `the vault sent ${bytes} bytes at ${at}, which it was not asked for`,
    hint: 'check that the program and the vault are of releases that fit',
  })
