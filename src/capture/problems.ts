import { messageOf, TidemarkError } from '../base/errors.ts'
import { type Problem, problemsMax } from '../model/report.ts'

export function problemOf(error: unknown): Problem {
  if (!(error instanceof TidemarkError)) return { code: 'interrupted', message: messageOf(error) }
  const { code, message, hint } = error
  return { code, message, ...(hint === undefined ? {} : { hint }) }
}

/** What the operator should know, by what it is about: of each the newest. */
export class Problems {
  readonly #byTopic = new Map<string, readonly Problem[]>()

  set(topic: string, ...problems: readonly Problem[]): void {
    this.#byTopic.delete(topic)
    if (problems.length > 0) this.#byTopic.set(topic, problems)
  }

  clear(topic: string): void {
    this.#byTopic.delete(topic)
  }

  list(): Problem[] {
    return [...this.#byTopic.values()].flat().slice(-problemsMax)
  }
}
