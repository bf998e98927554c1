import { worstFirst } from '../../api/console.ts'
import { lagClassesMs, type Measure } from '../../api/measures.ts'
import type { SourceState } from '../../api/schemas.ts'
import { ByteReader, type ByteWriter } from '../../base/bytes.ts'

/** What was measured of one source in a span of time, whichever that is. */
export type Measured = Omit<Measure, 'at'>

const classCount = lagClassesMs.length + 1

export const nothingMeasured = (): Measured => ({
  seconds: 0,
  unknownSeconds: 0,
  lateSeconds: 0,
  lagMsMax: 0,
  lagClasses: Array.from({ length: classCount }, () => 0),
  worst: 'retired',
  changes: 0,
  bytes: 0,
})

/** One look at a source. */
export interface Look {
  readonly state: SourceState
  /** Undefined where it is not known. */
  readonly lagMs: number | undefined
  readonly isLate: boolean
}

export const lagClassOf = (lagMs: number): number => {
  const found = lagClassesMs.findIndex((limit) => lagMs <= limit)
  return found === -1 ? lagClassesMs.length : found
}

/** `measured` and a second more. */
export function addLook(measured: Measured, { state, lagMs, isLate }: Look): void {
  measured.seconds++
  measured.worst = worseOf(measured.worst, state)
  if (lagMs === undefined) {
    measured.unknownSeconds++
    return
  }
  const lagClass = lagClassOf(lagMs)
  measured.lagClasses[lagClass] = (measured.lagClasses[lagClass] ?? 0) + 1
  measured.lagMsMax = Math.max(measured.lagMsMax, Math.ceil(lagMs))
  if (isLate) measured.lateSeconds++
}

export function addMeasured(sum: Measured, one: Measured): void {
  sum.seconds += one.seconds
  sum.unknownSeconds += one.unknownSeconds
  sum.lateSeconds += one.lateSeconds
  sum.lagMsMax = Math.max(sum.lagMsMax, one.lagMsMax)
  for (const [lagClass, seconds] of one.lagClasses.entries()) {
    sum.lagClasses[lagClass] = (sum.lagClasses[lagClass] ?? 0) + seconds
  }
  sum.worst = worseOf(sum.worst, one.worst)
  sum.changes += one.changes
  sum.bytes += one.bytes
}

const worseOf = (one: SourceState, other: SourceState): SourceState =>
  worstFirst.indexOf(one) <= worstFirst.indexOf(other) ? one : other

/**
 * What a strip shows of a span: the worst class of lag as one digit of `strip` in src/api/measures.ts.
 * 0: nothing was measured; 1: no lag was known; from 2 on: the class.
 */
export function worstLagOf({ seconds, lagClasses }: Measured): number {
  if (seconds === 0) return 0
  return lagClasses.findLastIndex((count) => count > 0) + 2
}

/** States by their number in the file: a new one comes last. */
const statesInFile: readonly SourceState[] = [
  'waiting',
  'paused',
  'baseline',
  'reconciling',
  'protected',
  'late',
  'offline',
  'vanished',
  'stalled',
  'damaged',
  'retired',
]

/**
 * As it stands in measures.sqlite; all numbers are varints:
 *   seconds · unknownSeconds · lateSeconds · number of `worst` · lagMsMax · changes · bytes · classes, a bit each
 *   then the seconds of each of those classes but the last: what is known and left belongs to that one
 */
export function writeMeasured(to: ByteWriter, one: Measured): void {
  const { seconds, unknownSeconds, lateSeconds, worst, lagMsMax, changes, bytes, lagClasses } = one
  const counts = lagClasses.filter((count) => count > 0)
  to.varint(seconds).varint(unknownSeconds).varint(lateSeconds).varint(statesInFile.indexOf(worst))
  to.varint(lagMsMax).varint(changes).varint(bytes)
  to.varint(lagClasses.reduce((bits, count, lagClass) => bits | (count > 0 ? 1 << lagClass : 0), 0))
  for (const count of counts.slice(0, -1)) to.varint(count)
}

export function readMeasured(from: ByteReader): Measured {
  const one = nothingMeasured()
  one.seconds = from.varint()
  one.unknownSeconds = from.varint()
  one.lateSeconds = from.varint()
  one.worst = statesInFile[from.varint()] ?? 'waiting'
  one.lagMsMax = from.varint()
  one.changes = from.varint()
  one.bytes = from.varint()
  const bits = from.varint()
  let left = one.seconds - one.unknownSeconds
  const last = 31 - Math.clz32(bits)
  for (let lagClass = 0; lagClass < last; lagClass++) {
    if ((bits & (1 << lagClass)) === 0) continue
    const count = from.varint()
    one.lagClasses[lagClass] = count
    left -= count
  }
  if (last >= 0) one.lagClasses[last] = left
  return one
}
