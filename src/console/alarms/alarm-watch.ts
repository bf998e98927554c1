import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { Tell } from '../../base/tell.ts'
import { together } from '../../base/together.ts'
import type { Moment } from '../../model/moment.ts'
import { ChannelTable } from '../channels/channel-table.ts'
import { Courier, type CourierParts } from '../channels/courier.ts'
import { Outbox } from '../channels/outbox.ts'
import type { Database } from '../database.ts'
import type { Federation } from '../federation.ts'
import type { Live } from '../live.ts'
import type { Sealing } from '../sealing.ts'
import { AlarmTable } from './alarm-table.ts'
import { AskedVaults } from './asked-vaults.ts'
import { type AlarmState, evaluate, stateFrom } from './evaluate.ts'
import { ThresholdTable } from './threshold-table.ts'
import { ThresholdsBySystem } from './thresholds.ts'

export interface AlarmParts {
  readonly database: Database
  readonly sealing: Sealing
  readonly federation: Federation
  readonly live: Live
  readonly clock: Clock
  readonly random: Random
  readonly tell: Tell
  readonly paceMs?: CourierParts['paceMs']
}

const lookMs = 1_000
const trimMs = 3_600_000

/** Looks at what the vaults tell, raises and ends alarms, and has the channels told: each of it is durable before it is shown. */
export class AlarmWatch {
  readonly table: AlarmTable
  readonly thresholds: ThresholdTable
  readonly channels: ChannelTable
  readonly courier: Courier
  readonly #outbox: Outbox
  readonly #parts: AlarmParts
  readonly #asked: AskedVaults
  #state: AlarmState

  constructor(parts: AlarmParts) {
    this.#parts = parts
    this.table = new AlarmTable(parts.database, parts.random)
    this.thresholds = new ThresholdTable(parts.database)
    this.channels = new ChannelTable(parts)
    this.#outbox = new Outbox(parts.database)
    this.courier = new Courier({ ...parts, channels: this.channels, outbox: this.#outbox })
    this.#asked = new AskedVaults(parts.clock)
    this.#state = stateFrom(this.table.remembered())
  }

  /** Until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { live } = this.#parts
    live.alarmsNow = () => this.table.open(this.#now)
    using _listening = live.listen((event) => {
      if (event.kind === 'vault' && event.event.kind === 'agents') this.#asked.agentsChanged(event.vault)
    })
    await together(signal, [(inside) => this.#watch(inside), (inside) => this.courier.run(inside)])
  }

  /** To open pages, after a change by hand. */
  changed(id: string): void {
    this.#parts.live.tell({ kind: 'alarm', alarm: this.table.demand(id, this.#now) })
  }

  get #now(): Moment {
    return this.#parts.clock.now() as Moment
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { clock, federation } = this.#parts
    let trimAtMs = clock.monotonicMs()
    for (;;) {
      this.#asked.ask(federation.vaults)
      this.#look()
      if (clock.monotonicMs() >= trimAtMs) {
        trimAtMs = clock.monotonicMs() + trimMs
        this.table.trim(this.#now)
      }
      await clock.sleep(lookMs, signal)
    }
  }

  #look(): void {
    const { database, federation, clock, live } = this.#parts
    const now = this.#now
    const set = [this.thresholds.everything(), ...this.thresholds.systems()]
    const world = {
      vaults: federation.vaults.map((vault) => this.#asked.seen(vault)),
      thresholds: new ThresholdsBySystem(set),
    }
    const { state, changes } = evaluate(this.#state, world, { moment: now, monotonicMs: clock.monotonicMs() })
    if (changes.length > 0 || this.table.hasUntold(now)) {
      const { alarms, told } = database.atomically(() => {
        const applied = this.table.apply(changes, now)
        this.#outbox.add(this.channels.list(), applied.told, now)
        return applied
      })
      if (told.length > 0) this.courier.wake()
      for (const alarm of alarms) live.tell({ kind: 'alarm', alarm })
    }
    this.#state = state
  }
}
