import type { lagClassesMs as vaultClasses } from '../../../src/api/measures.ts'

/** The classes that the vault counts lags in: of one type with its own, so that they cannot come apart. */
export const lagClassesMs: typeof vaultClasses = [
  100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000, 86_400_000,
]

/** What one step of a strip was, in the colours of palette.css. */
export type StepColour = 'none' | 'unknown' | '1' | '2' | '3' | 'late' | 'bad'

/** Lag so many times the allowed one is drawn as bad. */
const badTimes = 10
const firstClass = 2

/** A digit of a strip: 0 nothing measured, 1 no lag known, from 2 on the class of lag. */
export function stepColour(digit: number, lagMsMax: number): StepColour {
  if (digit === 0) return 'none'
  if (digit === 1) return 'unknown'
  const above = lowerBound(digit)
  if (above >= lagMsMax * badTimes) return 'bad'
  if (above >= lagMsMax) return 'late'
  if (above < 1_000) return '1'
  return above < 10_000 ? '2' : '3'
}

/** The largest lag of the class of `digit`; null above the last one. */
export const upperBound = (digit: number): number | null => lagClassesMs[digit - firstClass] ?? null

const lowerBound = (digit: number): number => lagClassesMs[digit - firstClass - 1] ?? 0

/** The worst of several strips, step by step. */
export function worstStrip(strips: readonly string[]): number[] {
  const length = Math.max(0, ...strips.map((strip) => strip.length))
  return Array.from({ length }, (_, step) =>
    Math.max(0, ...strips.map((strip) => Number.parseInt(strip[step] ?? '0', 16))),
  )
}

/** Neighbours of one colour, as one. */
export interface Run {
  readonly colour: StepColour
  readonly from: number
  readonly steps: number
}

export function runsOf(digits: readonly number[], lagMsMax: number): Run[] {
  const runs: Run[] = []
  for (const [at, digit] of digits.entries()) {
    const colour = stepColour(digit, lagMsMax)
    const last = runs.at(-1)
    if (last?.colour === colour) runs[runs.length - 1] = { ...last, steps: last.steps + 1 }
    else runs.push({ colour, from: at, steps: 1 })
  }
  return runs
}

/** Steps of five minutes in a day. */
export const stepsOfDay = 288
export const stepMs = 300_000

/** Of a strip that begins at `fromMs` and may reach into hours that are yet to come: the 24 hours until now. */
export function lastDay(strip: string, fromMs: number, nowMs: number): string {
  const end = Math.ceil((nowMs - fromMs) / stepMs)
  return strip.slice(Math.max(0, end - stepsOfDay), Math.max(0, end)).padStart(stepsOfDay, '0')
}

/** Where the first step of `lastDay` begins. */
export const lastDayFromMs = (fromMs: number, nowMs: number): number =>
  fromMs + (Math.ceil((nowMs - fromMs) / stepMs) - stepsOfDay) * stepMs
