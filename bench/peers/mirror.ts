import type { Service } from '../command.ts'

/** A peer that keeps a directory like another one, as its files change. */
export interface Mirror extends AsyncDisposable {
  readonly name: string
  readonly target: string
  readonly processes: readonly Service[]
}
