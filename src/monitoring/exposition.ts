import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Clock } from '../base/clock.ts'

/** However many ask, and however often, the figures are read at most so often. */
const readMsMin = 1_000

export interface Told {
  readonly status: number
  readonly type: string
  readonly text: string
}

/**
 * The metrics of a process, in the text form of Prometheus. `read` brings them up to date with what the process knows
 * anyway; while nobody asks, nothing is read. Names begin with `prefix`.
 */
export class Exposition {
  readonly registry = new Registry()
  readonly #prefix: string
  readonly #clock: Clock
  #last: { readonly atMs: number; readonly told: Promise<Told> } | undefined
  #watchesProcess = false

  constructor(prefix: string, clock: Clock) {
    this.#prefix = prefix
    this.#clock = clock
  }

  gauge<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []): Gauge<Label> {
    return new Gauge({ ...this.#named(name, help), labelNames })
  }

  /** Of a total that somebody else keeps: it is set by `setTotal`. */
  counter<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []): Counter<Label> {
    return new Counter({ ...this.#named(name, help), labelNames })
  }

  histogram<Label extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly Label[] = [],
  ): Histogram<Label> {
    return new Histogram({ ...this.#named(name, help), labelNames, buckets: [...buckets] })
  }

  #named(name: string, help: string): { name: string; help: string; registers: Registry[] } {
    return { name: `${this.#prefix}_${name}`, help, registers: [this.registry] }
  }

  async tell(read: () => Promise<void>): Promise<Told> {
    const nowMs = this.#clock.monotonicMs()
    if (this.#last === undefined || nowMs - this.#last.atMs > readMsMin) {
      const told = this.#text(read)
      this.#last = { atMs: nowMs, told }
      // A failure is told to those who ask now, and not kept for those who ask later.
      told.catch(() => (this.#last = undefined))
    }
    return this.#last.told
  }

  async #text(read: () => Promise<void>): Promise<Told> {
    if (!this.#watchesProcess) {
      this.#watchesProcess = true
      collectDefaultMetrics({ register: this.registry })
    }
    await read()
    return { status: 200, type: this.registry.contentType, text: await this.registry.metrics() }
  }
}
