import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'

/** How long a test waits for what must come about, on the slowest machine. */
const waitMsMax = 60_000
const pollMs = 20

/** Waits until it is so. In vain, it fails with what was waited for, after a last look: a machine may have stood still. */
export async function until(
  what: string | (() => string),
  isSo: () => boolean | Promise<boolean>,
  withinMs = waitMsMax,
): Promise<void> {
  for (const end = performance.now() + withinMs; ; await sleep(pollMs)) {
    const isLast = performance.now() >= end
    if (await isSo()) return
    assert.ok(!isLast, `within ${withinMs} ms: ${typeof what === 'string' ? what : what()}`)
  }
}
