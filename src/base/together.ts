type Task = (signal: AbortSignal) => Promise<void>

/**
 * Runs tasks that live and end together: when one ends or fails, or `signal` aborts, the others are aborted and waited
 * for. Rejects with what failed first; resolves when a task ended first without failing.
 */
export async function together(signal: AbortSignal, tasks: readonly Task[]): Promise<void> {
  const inside = new AbortController()
  const joined = AbortSignal.any([signal, inside.signal])
  let outcome: { failed: boolean; error?: unknown } | undefined
  const settle = (ended: { failed: boolean; error?: unknown }): void => {
    outcome ??= ended
    inside.abort(new Ended())
  }
  await Promise.all(
    tasks.map((task) =>
      task(joined).then(
        () => settle({ failed: false }),
        (error: unknown) => settle({ failed: true, error }),
      ),
    ),
  )
  if (outcome?.failed) throw outcome.error
}

/** Why a task of `together` is aborted when another one has ended. */
class Ended extends Error {
  override readonly name = 'Ended'
}

/** Rejects with the signal's reason when it aborts, else follows `promise`, which goes on unobserved after an abort. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason)
    if (signal.aborted) aborted()
    signal.addEventListener('abort', aborted, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}

export const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
