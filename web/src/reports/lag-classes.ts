import type { Texts } from '../language/en.ts'

/** Upper bounds of the classes that lags are counted in, as src/api/measures.ts has them; a test holds them alike. */
export const lagBoundsMs = [
  100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000, 86_400_000,
] as const

export const classNames = (t: Texts, duration: (ms: number) => string): string[] => [
  ...lagBoundsMs.map((bound) => t.reports.upTo(duration(bound))),
  t.reports.above(duration(lagBoundsMs.at(-1) ?? 0)),
]

/** The classes that anything is in, with one beside them for the eye. */
export function usedClasses(all: readonly (readonly number[])[]): number[] {
  const used = all.flatMap((classes) => classes.flatMap((seconds, at) => (seconds > 0 ? [at] : [])))
  if (used.length === 0) return []
  const first = Math.max(0, Math.min(...used) - 1)
  const last = Math.min(lagBoundsMs.length, Math.max(...used) + 1)
  return Array.from({ length: last - first + 1 }, (_, at) => first + at)
}
