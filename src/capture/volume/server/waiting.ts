import type { Answer } from '../../../nbd/export.ts'

/** Answers that wait for the log to be durable, in the order of their records. */
export class WaitingAnswers {
  #waiting: { readonly number: number; readonly answer: Answer }[] = []

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  /** Whether one waits for a record up to `number`. */
  isAnyUpTo(number: number): boolean {
    const first = this.#waiting[0]
    return first !== undefined && first.number <= number
  }

  /** Numbers never go back. */
  add(number: number, answer: Answer): void {
    this.#waiting.push({ number, answer })
  }

  release(upTo: number): void {
    if (!this.isAnyUpTo(upTo)) return
    const index = this.#waiting.findIndex(({ number }) => number > upTo)
    const released = index < 0 ? this.#waiting.splice(0) : this.#waiting.splice(0, index)
    for (const { answer } of released) answer.done()
  }

  fail(): void {
    for (const { answer } of this.#waiting.splice(0)) answer.failed('EIO')
  }
}
