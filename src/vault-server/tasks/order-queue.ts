import type { AgentOrder } from '../../wire/ports.ts'

/** Orders that wait for one agent's connection; the connection is ended rather than one be lost. */
const ordersMax = 1024

/** What is to be said on one control connection. */
export class OrderQueue implements AsyncIterable<AgentOrder> {
  readonly #waiting: AgentOrder[] = []
  #ended = false
  #wake: (() => void) | undefined
  /** Whether the agent knows what a task is. */
  takesTasks = true

  push(order: AgentOrder): void {
    if (this.#waiting.length >= ordersMax) this.#ended = true
    if (!this.#ended) this.#waiting.push(order)
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<AgentOrder> {
    for (;;) {
      const next = this.#waiting.shift()
      if (next) yield next
      else if (this.#ended) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}
