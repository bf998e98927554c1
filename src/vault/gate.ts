/** Lets in what weighs together at most `weightMax`, first come first served; one alone may be heavier. */
export class Gate {
  readonly #weightMax: number
  readonly #waiting: {
    readonly weight: number
    readonly enter: () => void
    readonly refuse: (reason: unknown) => void
  }[] = []
  #weight = 0

  constructor(weightMax: number) {
    this.#weightMax = weightMax
  }

  /** Resolves in the order of the calls. What has entered has to leave. */
  enter(weight: number): Promise<void> {
    return new Promise((enter, refuse) => {
      this.#waiting.push({ weight, enter, refuse })
      this.#letIn()
    })
  }

  leave(weight: number): void {
    this.#weight -= weight
    this.#letIn()
  }

  /** Nobody who waits will get in. */
  refuseAll(reason: unknown): void {
    for (const { refuse } of this.#waiting.splice(0)) refuse(reason)
  }

  #letIn(): void {
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      if (this.#weight > 0 && this.#weight + next.weight > this.#weightMax) return
      this.#waiting.shift()
      this.#weight += next.weight
      next.enter()
    }
  }
}
