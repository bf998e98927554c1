import type { LiveEvent } from '../api/console.ts'
import { heartbeatMs } from '../api/events.ts'
import { unreachable } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { Wake } from '../base/wake.ts'
import { isoMoment, type Moment } from '../model/moment.ts'
import type { Federation } from './federation.ts'
import type { Live } from './live.ts'

/** What happens within this time is told together. */
const turnMs = 250
/** Different things that wait for one reader; with more, it is told everything anew instead. */
const waitingMax = 20_000

/**
 * What one open page is told: everything at first, then what changes. Of a thing that changes again before it was told, the
 * newest alone: a slow page gets newer states, not more.
 */
export async function* readLive(
  { live, federation, clock }: { readonly live: Live; readonly federation: Federation; readonly clock: Clock },
  signal: AbortSignal,
): AsyncGenerator<LiveEvent> {
  const waiting = new Map<string, LiveEvent>()
  const woken = new Wake()
  let isLost = true
  using _listening = live.listen((event) => {
    if (isLost) return
    const { key, replaces } = placeOf(event)
    if (replaces !== undefined) for (const one of waiting.keys()) if (one.startsWith(replaces)) waiting.delete(one)
    // Put at the end again: what is told stays in the order of its newest change.
    waiting.delete(key)
    waiting.set(key, event)
    if (waiting.size > waitingMax) isLost = true
    woken.wake()
  })
  let saidMs = clock.monotonicMs()
  while (!signal.aborted) {
    const events = isLost ? everything() : [...waiting.values()]
    waiting.clear()
    isLost = false
    if (events.length === 0 && clock.monotonicMs() - saidMs >= heartbeatMs)
      events.push({ kind: 'heartbeat', now: isoMoment(clock.now() as Moment) })
    if (events.length > 0) saidMs = clock.monotonicMs()
    yield* events
    await clock.sleep(turnMs, signal)
    if (waiting.size === 0 && !isLost) await someTime()
  }

  function everything(): LiveEvent[] {
    const hello: LiveEvent = {
      kind: 'hello',
      now: isoMoment(clock.now() as Moment),
      vaults: federation.entries(),
      alarms: [...live.alarmsNow()],
    }
    const states = federation.vaults.flatMap(({ record, lastTold }) =>
      lastTold === undefined
        ? []
        : [{ kind: 'vault', vault: record.id, event: { kind: 'vault', vault: lastTold } } as const],
    )
    return [hello, ...states]
  }

  async function someTime(): Promise<void> {
    const over = new AbortController()
    const either = AbortSignal.any([signal, over.signal])
    const leftMs = Math.max(0, saidMs + heartbeatMs - clock.monotonicMs())
    const waits = [clock.sleep(leftMs, either), woken.wait(either)]
    try {
      await Promise.race(waits)
    } finally {
      over.abort()
      await Promise.allSettled(waits)
    }
  }
}

/** What an event is of: a newer one of the same takes its place, and one that tells everything that of all it `replaces`. */
function placeOf(event: LiveEvent): { key: string; replaces?: string } {
  switch (event.kind) {
    case 'vault': {
      const vault = `vault ${event.vault} `
      const { event: told } = event
      switch (told.kind) {
        case 'vault':
          return { key: vault, replaces: vault }
        case 'source':
          return { key: `${vault}source ${told.source.id}` }
        case 'source-gone':
          return { key: `${vault}source ${told.id}` }
        case 'task':
          return { key: `${vault}task ${told.id}` }
        case 'space':
        case 'agents':
        case 'heartbeat':
          return { key: `${vault}${told.kind}` }
        default:
          return unreachable(told)
      }
    }
    case 'connection':
      return { key: `connection ${event.entry.id}` }
    case 'vault-removed':
      return { key: `connection ${event.vault}`, replaces: `vault ${event.vault} ` }
    case 'alarm':
      return { key: `alarm ${event.alarm.id}` }
    case 'hello':
    case 'heartbeat':
      return { key: event.kind }
    default:
      return unreachable(event)
  }
}
