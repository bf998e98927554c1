import { type Moment, moment } from '../../model/moment.ts'

/** Up to which moment everything is in the journal: what the log was known to have, once the journal has it too. */
export class Coverage {
  #covered = moment(0)
  #goal: { readonly moment: Moment; readonly number: number } | undefined

  /** 0 before the server has been heard: when a batch was made does not tell how far behind it was. */
  get covered(): Moment {
    return this.#covered
  }

  /** Another conversation: what its log holds is not known. */
  restart(): void {
    this.#goal = undefined
  }

  get isWaiting(): boolean {
    return this.#goal !== undefined
  }

  /** Nothing after `number` was made before `at`. */
  heard(at: Moment, number: number): void {
    this.#goal ??= { moment: at, number }
  }

  /** Whether that covers more. */
  reached(number: number): boolean {
    const goal = this.#goal
    if (goal === undefined || number < goal.number) return false
    this.#goal = undefined
    if (goal.moment <= this.#covered) return false
    this.#covered = goal.moment
    return true
  }
}
