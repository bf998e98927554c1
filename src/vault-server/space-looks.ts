import type { SpaceAnswer } from '../api/measures.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import { isoMoment, type Moment } from '../model/moment.ts'
import type { Id } from '../model/source.ts'
import type { Statistics } from '../vault/views/service.ts'
import type { Context } from './context.ts'
import { fullAt, growthBytesPerDay } from './forecast.ts'
import { stepUs } from './measures/spans.ts'

/** Between looks at what each source takes; longer where a look takes long. */
const lookMs = 60_000
const lookRests = 50
const daysToldMax = 400

type Looked = Pick<SpaceAnswer, 'sources' | 'logicalBytes'>

/** Looks from time to time at what the vault holds, remembers it by the day, and tells where that leads. */
export class SpaceLooks {
  readonly #context: Pick<Context, 'vault' | 'derived' | 'space' | 'measures'>
  readonly #clock: Clock
  readonly #tell: (line: string) => void
  #looked: Promise<Looked> | undefined

  constructor(
    context: Pick<Context, 'vault' | 'derived' | 'space' | 'measures'>,
    clock: Clock,
    tell: (line: string) => void,
  ) {
    this.#context = context
    this.#clock = clock
    this.#tell = tell
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const beganMs = this.#clock.monotonicMs()
      try {
        const looked = this.look()
        await looked
        this.#looked = looked
      } catch (error) {
        if (!signal.aborted)
          this.#tell(`what the vault holds could not be looked at, it is tried again: ${messageOf(error)}`)
      }
      const tookMs = this.#clock.monotonicMs() - beganMs
      await this.#clock.sleep(Math.max(lookMs, tookMs * lookRests), signal).catch(() => undefined)
    }
  }

  async look(): Promise<Looked> {
    const { vault, space, measures } = this.#context
    const [stored, freeBytes] = await Promise.all([space.stored(), space.freeBytes()])
    const sources: SpaceAnswer['sources'] = []
    const brought = new Map<Id, number>()
    let logicalBytes = 0
    for (const { id, name } of vault.openSources) {
      const told = await this.#statistics(id)
      const isWhole = told === undefined || told.changes === told.indexed
      brought.set(id, told?.broughtBytes ?? 0)
      logicalBytes += (told?.changedBytes ?? 0) + (isWhole ? 0 : told.bytes)
      sources.push({
        id,
        name,
        treeBytes: told?.bytes ?? 0,
        historyBytes: told?.changedBytes ?? 0,
        journalBytes: stored.journalBytes.get(id) ?? 0,
      })
    }
    const at = this.#clock.now() as Moment
    const { storedBytes, indexBytes } = stored
    measures.record('write how full the vault is', (file) =>
      file.putSpace(Math.floor(at / stepUs.day), { at, storedBytes, indexBytes, freeBytes }, brought),
    )
    return { sources, logicalBytes }
  }

  /** Undefined of a source whose index cannot be asked: that is told with its status. */
  async #statistics(id: Id): Promise<Statistics | undefined> {
    const { derived } = this.#context
    if (derived.indexes.indexed(id) === 0) return undefined
    try {
      return await derived.views.statistics(id)
    } catch {
      return undefined
    }
  }

  async answer(): Promise<SpaceAnswer> {
    const { space, measures } = this.#context
    const [stored, freeBytes, totalBytes, looked] = await Promise.all([
      space.stored(),
      space.freeBytes(),
      space.totalBytes(),
      (this.#looked ??= this.look()),
    ])
    const now = this.#clock.now() as Moment
    const { storedBytes, indexBytes } = stored
    const days = measures.ask((file) => file.spaceDays(daysToldMax))
    const amounts = days.map((day) => ({ at: day.at, bytes: day.storedBytes + day.indexBytes }))
    const growth = growthBytesPerDay([...amounts, { at: now, bytes: storedBytes + indexBytes }])
    const full = fullAt(now, freeBytes, growth)
    return {
      storedBytes,
      indexBytes,
      freeBytes,
      totalBytes,
      days: days.map((day) => ({ ...day, at: isoMoment(day.at) })),
      growthBytesPerDay: growth,
      full: full === null ? null : isoMoment(full),
      ...looked,
    }
  }
}
