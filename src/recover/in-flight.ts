/** Runs tasks side by side, at most so many. The first failure, or an abort, is what the next call throws. */
export class InFlight {
  readonly #tasksMax: number
  readonly #signal: AbortSignal
  readonly #running = new Set<Promise<void>>()
  #failure: { error: unknown } | undefined
  #something = Promise.withResolvers<void>()

  constructor(tasksMax: number, signal: AbortSignal) {
    this.#tasksMax = tasksMax
    this.#signal = signal
    signal.addEventListener('abort', () => this.#something.resolve(), { once: true })
  }

  /** Waits for room, then starts the task; what it returns never rejects. */
  async start(task: () => Promise<void>): Promise<{ ended: Promise<void> }> {
    while (this.#running.size >= this.#tasksMax) await this.#happening()
    this.#check()
    const ended = this.#run(task)
    this.#running.add(ended)
    void ended.then(() => this.#running.delete(ended))
    return { ended }
  }

  async allEnded(): Promise<void> {
    while (this.#running.size > 0) await this.#happening()
    this.#check()
  }

  /** Waits until none runs any more, whatever has become of them. */
  async noneLeft(): Promise<void> {
    await Promise.all(this.#running)
  }

  async #run(task: () => Promise<void>): Promise<void> {
    try {
      await task()
    } catch (error) {
      this.#failure ??= { error }
    }
    this.#something.resolve()
  }

  async #happening(): Promise<void> {
    this.#check()
    await this.#something.promise
    this.#something = Promise.withResolvers()
    this.#check()
  }

  #check(): void {
    if (this.#failure) throw this.#failure.error
    this.#signal.throwIfAborted()
  }
}
