import type { Alarm, LiveEvent } from '../api/console.ts'

export type Listener = (event: LiveEvent) => void

/** What happens, told at once to whoever listens: open pages, and the rules of alarms. Telling waits for nobody. */
export class Live {
  readonly #listeners = new Set<Listener>()
  /** Open pages among them. */
  pages = 0
  /** Those that last, for a page that opens. */
  alarmsNow: () => readonly Alarm[] = () => []

  tell(event: LiveEvent): void {
    for (const listener of this.#listeners) listener(event)
  }

  listen(listener: Listener): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }
}
