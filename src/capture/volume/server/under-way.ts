import type { Clock } from '../../../base/clock.ts'
import type { Problem } from '../../../model/report.ts'

type Of = 'log' | 'backing'
type What = 'sync' | 'read' | 'write'

/** What the disks have been asked for and have not answered, so that one that hangs is noticed. */
export class UnderWay {
  readonly #clock: Clock
  /** In the order in which they began. */
  readonly #works: Readonly<Record<Of, Set<{ readonly what: What; readonly sinceMs: number }>>> = {
    log: new Set(),
    backing: new Set(),
  }

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async watch<T>(of: Of, what: What, work: Promise<T>): Promise<T> {
    const one = { what, sinceMs: this.#clock.monotonicMs() }
    this.#works[of].add(one)
    try {
      return await work
    } finally {
      this.#works[of].delete(one)
    }
  }

  /** How long the oldest has been under way. */
  stalledMs(of: Of): number {
    const [oldest] = this.#works[of]
    return oldest === undefined ? 0 : this.#clock.monotonicMs() - oldest.sinceMs
  }

  /** One for each disk that has taken longer than this. */
  problems(slowMs: number): readonly Problem[] {
    return (['log', 'backing'] as const).flatMap((of) => {
      const [oldest] = this.#works[of]
      const ms = this.stalledMs(of)
      return oldest === undefined || ms <= slowMs ? [] : [slowProblem(of, oldest.what, ms)]
    })
  }
}

const consequences: Readonly<Record<Of, Readonly<Record<What, string>>>> = {
  log: { sync: '; flushes wait', read: '', write: '; writes wait' },
  backing: {
    sync: ', and the log cannot let go of what it holds',
    read: '',
    write: ', and the log cannot let go of what it holds',
  },
}

const slowProblem = (of: Of, what: What, ms: number): Problem => ({
  code: 'volume-disk-slow',
  message: `a ${what} of the ${of} has been under way for ${Math.floor(ms / 1000)} s: its disk is slow, or hangs${consequences[of][what]}`,
  hint: 'see to the disk ("dmesg", "iostat -x"); the server goes on as long as the disk completes anything',
})
