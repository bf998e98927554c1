import type { Dataset } from './dataset.ts'
import type { Record } from './record.ts'

/** What a row of measurements is given. */
export interface Assignment {
  readonly record: Record
  readonly dataset: Dataset
  readonly runs: number
  readonly isQuick: boolean
  readonly profileDirectory: string | undefined
  readonly tell: (line: string) => void
}

export interface Row {
  readonly name: string
  readonly title: string
  measure(assignment: Assignment): Promise<void>
}

/** Contestants in an order that changes from run to run, so that none is always the first. */
export const inTurn = <T>(contestants: readonly T[], run: number): T[] =>
  contestants.map((_, index) => contestants[(index + run) % contestants.length] as T)
