import { type CaptureReport, problemsMax } from '../../model/report.ts'

type Problem = CaptureReport['problems'][number]

/** What the operator should know, by what it is about: of each the newest. */
export class Problems {
  readonly #byTopic = new Map<string, Problem>()

  set(topic: string, problem: Problem): void {
    this.#byTopic.delete(topic)
    this.#byTopic.set(topic, problem)
  }

  clear(topic: string): void {
    this.#byTopic.delete(topic)
  }

  list(): Problem[] {
    return [...this.#byTopic.values()].slice(-problemsMax)
  }
}
