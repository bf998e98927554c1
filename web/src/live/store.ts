import type { LiveEvent } from '../../../src/api/console.ts'
import { apply, type LiveState, nothingYet } from './state.ts'

/** Changes that come within it are shown at once: a thousand sources that change are one rendering. */
const gatherMs = 300
/** The console says something at least every 5 s. */
const silenceMsMax = 12_000
const lookEveryMs = 1_000
/** A browser tries again by itself while the answer breaks off, and gives up when it is refused. */
const retryMs = 3_000

type VaultListener = (vault: string, event: (LiveEvent & { kind: 'vault' })['event']) => void

/** What is live, over the one EventSource of this page. Silence counts as loss: what may be old is never shown as present. */
export class LiveStore {
  #state: LiveState = nothingYet
  #source: EventSource | undefined
  #waiting: LiveEvent[] = []
  #lastHeardMs = 0
  #retryAtMs: number | undefined
  #gathering: number | undefined
  #looking: number | undefined
  readonly #listeners = new Set<() => void>()
  readonly #vaultListeners = new Set<VaultListener>()
  readonly #refused: () => void

  /** `refused` is called when the console does not let the stream be opened: the session may be over. */
  constructor(refused: () => void) {
    this.#refused = refused
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  readonly state = (): LiveState => this.#state

  /** For what is not told but only said to have changed: agents, tasks. */
  onVaultEvent(listener: VaultListener): () => void {
    this.#vaultListeners.add(listener)
    return () => this.#vaultListeners.delete(listener)
  }

  open(): void {
    this.#lastHeardMs = Date.now()
    this.#connect()
    this.#looking = window.setInterval(() => this.#look(), lookEveryMs)
  }

  close(): void {
    window.clearInterval(this.#looking)
    window.clearTimeout(this.#gathering)
    this.#source?.close()
    this.#source = undefined
    this.#gathering = undefined
    this.#waiting = []
    this.#publish(nothingYet)
  }

  #connect(): void {
    this.#source?.close()
    this.#retryAtMs = undefined
    const source = new EventSource('/api/live')
    source.addEventListener('message', ({ data }) => this.#take(JSON.parse(data as string) as LiveEvent))
    source.addEventListener('error', () => {
      this.#lose()
      if (source.readyState !== EventSource.CLOSED) return
      this.#retryAtMs = Date.now() + retryMs
      this.#refused()
    })
    this.#source = source
  }

  #take(event: LiveEvent): void {
    this.#lastHeardMs = Date.now()
    this.#waiting.push(event)
    if (event.kind === 'vault') for (const listener of this.#vaultListeners) listener(event.vault, event.event)
    this.#gathering ??= window.setTimeout(() => this.#show(), gatherMs)
  }

  #show(): void {
    window.clearTimeout(this.#gathering)
    this.#gathering = undefined
    if (this.#waiting.length > 0) this.#publish(apply(this.#state, this.#waiting.splice(0), Date.now()))
  }

  #look(): void {
    const nowMs = Date.now()
    if (this.#retryAtMs !== undefined && nowMs >= this.#retryAtMs) this.#connect()
    else if (this.#retryAtMs === undefined && nowMs - this.#lastHeardMs > silenceMsMax) {
      this.#lose()
      this.#connect()
      // Otherwise each look would connect anew.
      this.#lastHeardMs = nowMs
    }
  }

  #lose(): void {
    this.#show()
    if (this.#state.connection.kind === 'lost') return
    this.#publish({ ...this.#state, connection: { kind: 'lost', sinceMs: this.#lastHeardMs } })
  }

  #publish(state: LiveState): void {
    this.#state = state
    for (const listener of this.#listeners) listener()
  }
}
