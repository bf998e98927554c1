/** What happened in a simulated world, newest lines kept; printed when a seed fails. */
export class Trace {
  readonly #lines: string[] = []
  readonly #linesMax: number
  readonly #live: ((line: string) => void) | undefined
  #nowMs: () => number = () => 0

  constructor({ linesMax = 400, live }: { linesMax?: number; live?: ((line: string) => void) | undefined } = {}) {
    this.#linesMax = linesMax
    this.#live = live
  }

  timedBy(nowMs: () => number): void {
    this.#nowMs = nowMs
  }

  add(who: string, what: string): void {
    const line = `${this.#nowMs().toFixed(3).padStart(12)} ${who.padEnd(10)} ${what}`
    this.#live?.(line)
    this.#lines.push(line)
    if (this.#lines.length > this.#linesMax * 2) this.#lines.splice(0, this.#lines.length - this.#linesMax)
  }

  tail(): string {
    return this.#lines.slice(-this.#linesMax).join('\n')
  }
}
