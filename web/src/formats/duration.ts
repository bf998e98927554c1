/** The words of one language for lengths of time. */
export interface DurationWords {
  readonly ms: string
  readonly s: string
  readonly min: string
  readonly h: string
  readonly d: string
}

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/** `0.4 ms`, `340 ms`, `4.2 s`, `3 min 12 s`, `2 h 5 min`, `12 d 3 h`: the two largest units that say something. */
export function formatDuration(ms: number, words: DurationWords): string {
  const length = Math.max(0, ms)
  if (length > 0 && length < 9.95) return `${length.toFixed(1)} ${words.ms}`
  if (length < 999.5) return `${Math.round(length)} ${words.ms}`
  if (length < 9.95 * second) return `${(length / second).toFixed(1)} ${words.s}`
  if (length < minute - second / 2) return `${Math.round(length / second)} ${words.s}`
  if (length < hour - second / 2) return two(length, minute, words.min, second, words.s)
  if (length < day - minute / 2) return two(length, hour, words.h, minute, words.min)
  return two(length, day, words.d, hour, words.h)
}

function two(length: number, large: number, largeWord: string, small: number, smallWord: string): string {
  const smalls = Math.round(length / small)
  const rest = smalls % (large / small)
  const first = `${Math.floor(smalls / (large / small))} ${largeWord}`
  return rest === 0 ? first : `${first} ${rest} ${smallWord}`
}
