import { type Moment } from '../../model/moment.ts'

/** A mark does not wait longer for the server's word. One that hangs must not hold it up for ever; one that is slow is waited for. */
const waitMsMax = 15_000

interface PendingMark {
  readonly tag: number
  readonly label: string
  readonly asked: Moment
}

/** Marks that stand after all that was known when each was asked for. */
export class PendingMarks {
  #marks: PendingMark[] = []

  add(mark: PendingMark): void {
    this.#marks.push(mark)
  }

  get isEmpty(): boolean {
    return this.#marks.length === 0
  }

  /** Those that may be written: the log is covered up to when they were asked for, or nobody can say how far it is. */
  *due({ covered, now, isHeard }: { covered: Moment; now: Moment; isHeard: boolean }): Generator<PendingMark> {
    for (let mark = this.#marks[0]; mark !== undefined; mark = this.#marks[0]) {
      if (isHeard && covered < mark.asked && now - mark.asked <= waitMsMax * 1000) return
      this.#marks.shift()
      yield mark
    }
  }
}
