import { type Problem, problemsMax } from '../../model/report.ts'

/** What is wrong at present, by place, newest last. */
export class Problems {
  readonly #problems = new Map<string, Problem>()
  #changed = false

  set(place: string, problem: Problem): void {
    const before = this.#problems.get(place)
    if (before?.message === problem.message) return
    this.#problems.delete(place)
    this.#problems.set(place, problem)
    this.#changed = true
  }

  clear(place: string): void {
    if (this.#problems.delete(place)) this.#changed = true
  }

  has(place: string): boolean {
    return this.#problems.has(place)
  }

  /** The newest; the last of them counts the others where there are more. */
  list(): Problem[] {
    const all = [...this.#problems.values()]
    if (all.length <= problemsMax) return all
    const shown = all.slice(1 - problemsMax)
    return [{ code: 'unreadable', message: `${all.length - shown.length} older problems are not shown` }, ...shown]
  }

  /** Whether there has been a change since the last question. */
  takeChanged(): boolean {
    const changed = this.#changed
    this.#changed = false
    return changed
  }
}
