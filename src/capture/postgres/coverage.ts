import type { Lsn } from '../../model/lsn.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { Flushed } from './flushed.ts'

/** Up to which moment everything is in the journal: what the server was known to have, once the journal has it too. */
export class Coverage {
  #covered = moment(0)
  #goal: Flushed | undefined

  /** 0 before the server has been heard: when a batch was made does not tell how far behind its log was. */
  get covered(): Moment {
    return this.#covered
  }

  /** Another stream, perhaps of another server. */
  restart(): void {
    this.#goal = undefined
  }

  heard(known: Flushed | undefined, position: Lsn | undefined): void {
    if (position === undefined) return
    this.#reach(position)
    if (known === undefined || known.moment <= this.#covered) return
    this.#goal ??= known
    this.#reach(position)
  }

  #reach(position: Lsn): void {
    if (this.#goal === undefined || position < this.#goal.end) return
    if (this.#goal.moment > this.#covered) this.#covered = this.#goal.moment
    this.#goal = undefined
  }
}
