/** One line of the story: when, what it is about, what happens. */
export const say = (about: string, text: string): void =>
  void process.stdout.write(
    `${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${`${about.padEnd(10)} ${text}`.trimEnd()}\n`,
  )

export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

const waitMsMax = 100_000

export async function until(what: string, done: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + waitMsMax
  while (!(await done())) {
    if (performance.now() > end) throw new Error(`${what}: still not after ${waitMsMax / 1000} s`)
    await pause(50)
  }
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
