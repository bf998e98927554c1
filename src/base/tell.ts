/** Tells, in a line each, what the operator would want to find in a log. */
export type Tell = (line: string, facts?: Facts) => void

/** What a structured log keeps beside the line. The line alone says all that a person needs. */
export interface Facts {
  /** Of the line; without it `info`, or `error` where there is one. */
  readonly level?: 'info' | 'warn' | 'error'
  readonly source?: string
  readonly agent?: string
  /** What the line tells of. Its message stands in the line already; its code and hint are kept beside. */
  readonly error?: unknown
}

/** The way of one batch. Times are ISO 8601 in UTC with microseconds, by the clock of who tells them. */
export interface BatchTold {
  /** The same at both ends: see `batchName`. */
  readonly batch: string
  readonly source: string
  readonly first: number
  readonly last: number
  readonly bytes: number
  /** At the agent: its last change, its last byte, the vault's word that it is durable. */
  readonly captured?: string
  readonly sent?: string
  readonly acknowledged?: string
  /** At the vault. */
  readonly received?: string
  readonly durable?: string
}

/** Told of each batch once it is durable. It is there only while somebody wants to know: else nothing is made for it. */
export type TellBatch = (told: BatchTold) => void

/** One name for a batch, from the agent to the vault: a source's batches differ in where they begin. */
export const batchName = (source: string, first: number): string => `${source}:${first}`
