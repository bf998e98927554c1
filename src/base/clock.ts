/**
 * Time comes through this door, so that tests can run on a simulated clock.
 * Moments are microseconds since the Unix epoch (see model/moment.ts); waits are milliseconds.
 */
export interface Clock {
  /** Wall-clock time in whole microseconds since the Unix epoch. May step when the machine's clock is set. */
  now(): number
  /** Monotonic milliseconds, for measuring durations; its zero means nothing. */
  monotonicMs(): number
  /** Resolves after `ms`; rejects with the signal's reason as soon as `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => Math.round((performance.timeOrigin + performance.now()) * 1000),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const onAbort = (): void => {
        clearTimeout(timer)
        reject(signal?.reason)
      }
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }, ms)
      signal?.addEventListener('abort', onAbort, { once: true })
    }),
}
