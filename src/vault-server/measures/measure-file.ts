import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { MeasureStep } from '../../api/measures.ts'
import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import type { Moment } from '../../model/moment.ts'
import type { Id } from '../../model/source.ts'
import { addMeasured, type Measured, nothingMeasured, readMeasured, worstLagOf, writeMeasured } from './measured.ts'
import { openMeasureDatabase, transaction } from './schema.ts'
import { type SpaceDay, SpaceRows } from './space-rows.ts'
import {
  dayOfHour,
  hourOfMinute,
  minutesPerHour,
  minutesPerSlice,
  slicesPerHour,
  type SpanRange,
  stepUs,
} from './spans.ts'
import { type Verification, VerificationRows } from './verification-rows.ts'

/** Rows of one source and table that are removed in one go: a clock that is wrong for a while cannot empty the past. */
const removedAtOnceMax = 48

/** An hour of a source that is not over, or waits to be written as a whole. */
interface HourSoFar {
  readonly measured: Measured
  /** Worst lag of each five minutes. */
  readonly slices: number[]
}

/**
 * What was measured, in measures.sqlite. Minutes are written as they end, beside each other; once an hour is over each source
 * has its minutes put together, and added to the hour and the day. A minute that comes again, because the clock was set back,
 * is added to the one before, at each of these places.
 */
export class MeasureFile implements Disposable {
  readonly #database: DatabaseSync
  readonly #verifications: VerificationRows
  readonly #space: SpaceRows
  readonly #statements: ReturnType<typeof prepareAll>
  readonly #numbers = new Map<Id, number>()
  readonly #unfolded = new Map<number, Map<number, HourSoFar>>()

  constructor(path: string) {
    this.#database = openMeasureDatabase(path)
    try {
      this.#statements = prepareAll(this.#database)
      this.#verifications = new VerificationRows(this.#database)
      this.#space = new SpaceRows(this.#database)
      const sources = this.#statements.sources.all() as unknown as { number: number; id: Id }[]
      for (const { number, id } of sources) this.#numbers.set(id, number)
      const recent = this.#statements.recent.all() as unknown as { at: number; source: number; measured: Uint8Array }[]
      for (const { at, source, measured } of recent) this.#addToHour(at, source, decoded(measured))
    } catch (error) {
      this.#database.close()
      throw error
    }
  }

  /** A minute is over. */
  writeMinute(minute: number, rows: ReadonlyMap<Id, Measured>): void {
    const written = [...rows].map(([id, measured]) => [this.#numberOf(id), measured] as const)
    transaction(this.#database, () => {
      for (const [source, measured] of written) {
        const { changes } = this.#statements.putRecent.run(minute, source, encoded(measured))
        if (changes === 0)
          this.#statements.replaceRecent.run(encoded(this.#alsoRecent(minute, source, measured)), minute, source)
      }
    })
    for (const [source, measured] of written) this.#addToHour(minute, source, measured)
  }

  #alsoRecent(minute: number, source: number, measured: Measured): Measured {
    const sum = this.#recentOf(minute, source) ?? nothingMeasured()
    addMeasured(sum, measured)
    return sum
  }

  /** Not within a transaction, which may be rolled back. */
  #numberOf(id: Id): number {
    const known = this.#numbers.get(id)
    if (known !== undefined) return known
    this.#statements.putSource.run(id)
    const { number } = this.#statements.source.get(id) as { number: number }
    this.#numbers.set(id, number)
    return number
  }

  #addToHour(minute: number, source: number, measured: Measured): void {
    const hour = hourOfMinute(minute)
    const sources = this.#unfolded.get(hour) ?? new Map<number, HourSoFar>()
    this.#unfolded.set(hour, sources)
    const soFar = sources.get(source) ?? {
      measured: nothingMeasured(),
      slices: Array.from({ length: slicesPerHour }, () => 0),
    }
    sources.set(source, soFar)
    addMeasured(soFar.measured, measured)
    const slice = Math.floor((minute - hour * minutesPerHour) / minutesPerSlice)
    soFar.slices[slice] = Math.max(soFar.slices[slice] as number, worstLagOf(measured))
  }

  /** Puts together the minutes of at most `countMax` sources, of hours other than `present`. False once none is left. */
  fold(present: number, countMax: number): boolean {
    for (const [hour, sources] of this.#unfolded) {
      if (hour === present) continue
      const some = [...sources].slice(0, countMax)
      transaction(this.#database, () => {
        for (const [source, soFar] of some) this.#foldHour(hour, source, soFar)
      })
      for (const [source] of some) sources.delete(source)
      if (sources.size === 0) this.#unfolded.delete(hour)
      return true
    }
    return false
  }

  #foldHour(hour: number, source: number, { measured, slices }: HourSoFar): void {
    const statements = this.#statements
    statements.putMinutes.run(source, hour, encodedMinutes(this.#minutesOf(hour, source)))
    for (let minute = hour * minutesPerHour; minute < (hour + 1) * minutesPerHour; minute++) {
      statements.dropRecent.run(minute, source)
    }
    const before = statements.hourOf.get(source, hour) as { measured: Uint8Array; strip: string } | undefined
    statements.putHour.run(source, hour, encoded(sumOf(before, measured)), stripOf(slices, before?.strip))
    const day = dayOfHour(hour)
    const dayBefore = statements.dayOf.get(source, day) as { measured: Uint8Array } | undefined
    statements.putDay.run(source, day, encoded(sumOf(dayBefore, measured)))
  }

  /** By their number in the hour, ascending. */
  #minutesOf(hour: number, source: number): Map<number, Measured> {
    const found = new Map<number, Measured>()
    const row = this.#statements.minutesOf.get(source, hour) as { measured: Uint8Array } | undefined
    if (row !== undefined) for (const [minute, measured] of decodedMinutes(row.measured)) found.set(minute, measured)
    if (this.#unfolded.get(hour)?.has(source) !== true) return found
    for (let number = 0; number < minutesPerHour; number++) {
      const recent = this.#recentOf(hour * minutesPerHour + number, source)
      if (recent === undefined) continue
      const before = found.get(number)
      if (before !== undefined) addMeasured(recent, before)
      found.set(number, recent)
    }
    return new Map([...found].toSorted(([a], [b]) => a - b))
  }

  #recentOf(minute: number, source: number): Measured | undefined {
    const row = this.#statements.recentOf.get(minute, source) as { measured: Uint8Array } | undefined
    return row && decoded(row.measured)
  }

  /** What was measured in these spans, ascending; those in which nothing was are left out. */
  read(id: Id, step: MeasureStep, range: SpanRange): [at: number, Measured][] {
    const source = this.#numbers.get(id)
    if (source === undefined) return []
    if (step === 'minute') return this.#readMinutes(source, range)
    const rows = (step === 'hour' ? this.#statements.hours : this.#statements.days).all(source, range.from, range.to)
    const found = new Map<number, Measured>()
    for (const { at, measured } of rows as unknown as { at: number; measured: Uint8Array }[])
      found.set(at, decoded(measured))
    for (const [hour, sources] of this.#unfolded) {
      const at = step === 'hour' ? hour : dayOfHour(hour)
      const soFar = sources.get(source)
      if (soFar === undefined || at < range.from || at >= range.to) continue
      const sum = found.get(at) ?? nothingMeasured()
      addMeasured(sum, soFar.measured)
      found.set(at, sum)
    }
    return [...found].toSorted(([a], [b]) => a - b)
  }

  #readMinutes(source: number, { from, to }: SpanRange): [at: number, Measured][] {
    const hours = { from: hourOfMinute(from), to: hourOfMinute(to - 1) + 1 }
    const kept = this.#statements.hoursWithMinutes.all(source, hours.from, hours.to) as unknown as { at: number }[]
    const unfolded = [...this.#unfolded.keys()].filter((hour) => hour >= hours.from && hour < hours.to)
    const all = [...new Set([...kept.map(({ at }) => at), ...unfolded])].toSorted((a, b) => a - b)
    return all
      .flatMap((hour) =>
        [...this.#minutesOf(hour, source)].map(
          ([number, measured]) => [hour * minutesPerHour + number, measured] satisfies [number, Measured],
        ),
      )
      .filter(([at]) => at >= from && at < to)
  }

  /** The worst lag of each five minutes of these hours, a digit each (src/api/measures.ts, `strip`). */
  strip(id: Id, { from, to }: SpanRange): string {
    const source = this.#numbers.get(id)
    const nothing = '0'.repeat(slicesPerHour)
    const strips = Array.from({ length: to - from }, () => nothing)
    if (source === undefined) return strips.join('')
    const rows = this.#statements.strips.all(source, from, to) as unknown as { at: number; strip: string }[]
    for (const { at, strip } of rows) strips[at - from] = strip
    for (const [hour, sources] of this.#unfolded) {
      const soFar = sources.get(source)
      if (soFar !== undefined && hour >= from && hour < to)
        strips[hour - from] = stripOf(soFar.slices, strips[hour - from])
    }
    return strips.join('')
  }

  /** Survives a power cut once it returns. */
  putVerification(id: Id, verification: Verification): void {
    this.#verifications.put(this.#numberOf(id), verification)
  }

  /** Those that ended in this span, the newest first. */
  verifications(id: Id, from: Moment, to: Moment, countMax: number): Verification[] {
    const source = this.#numbers.get(id)
    return source === undefined ? [] : this.#verifications.between(source, from, to, countMax)
  }

  lastVerification(id: Id): Verification | undefined {
    const source = this.#numbers.get(id)
    return source === undefined ? undefined : this.#verifications.newest(source)
  }

  /** `brought`: what each source has brought since its journal began. */
  putSpace(day: number, look: Omit<SpaceDay, 'receivedBytes'>, brought: ReadonlyMap<Id, number>): void {
    this.#space.put(day, look, new Map([...brought].map(([id, bytes]) => [this.#numberOf(id), bytes])))
  }

  /** The newest so many, ascending. */
  spaceDays(countMax: number): SpaceDay[] {
    return this.#space.days(countMax)
  }

  get sources(): Id[] {
    return [...this.#numbers.keys()]
  }

  /** Removes what of a source is older than these, some of it at once; of one that is no more, `Infinity`, in the end all. */
  prune(id: Id, keptFrom: Readonly<Record<MeasureStep, number>>): void {
    const source = this.#numbers.get(id)
    if (source === undefined) return
    const { dropMinutes, dropHours, dropDays } = this.#statements
    const before = (step: MeasureStep): number => Math.min(keptFrom[step], Number.MAX_SAFE_INTEGER)
    const removed = transaction(this.#database, () => {
      const rows = [
        dropMinutes.run(source, hourOfMinute(before('minute')), removedAtOnceMax),
        dropHours.run(source, before('hour'), removedAtOnceMax),
        dropDays.run(source, before('day'), removedAtOnceMax),
      ].reduce((sum, { changes }) => sum + Number(changes), 0)
      const verifiedBefore = Math.min(keptFrom.day * stepUs.day, Number.MAX_SAFE_INTEGER)
      return rows + this.#verifications.prune(source, verifiedBefore, removedAtOnceMax)
    })
    const isOver = keptFrom.day === Infinity && removed === 0
    if (!isOver || [...this.#unfolded.values()].some((sources) => sources.has(source))) return
    this.#space.forget(source)
    this.#statements.dropSource.run(source)
    this.#numbers.delete(id)
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }
}

function encoded(measured: Measured): Buffer {
  const writer = new ByteWriter()
  writeMeasured(writer, measured)
  return writer.finish()
}

function decoded(bytes: Uint8Array): Measured {
  const reader = new ByteReader(bytes)
  const measured = readMeasured(reader)
  reader.end()
  return measured
}

function encodedMinutes(minutes: ReadonlyMap<number, Measured>): Buffer {
  const writer = new ByteWriter()
  for (const [number, measured] of minutes) writeMeasured(writer.u8(number), measured)
  return writer.finish()
}

function* decodedMinutes(bytes: Uint8Array): Generator<[number: number, Measured]> {
  const reader = new ByteReader(bytes)
  while (reader.remaining > 0) yield [reader.u8(), readMeasured(reader)]
}

function sumOf(before: { readonly measured: Uint8Array } | undefined, measured: Measured): Measured {
  const sum = before === undefined ? nothingMeasured() : decoded(before.measured)
  addMeasured(sum, measured)
  return sum
}

const stripOf = (slices: readonly number[], before: string | undefined): string =>
  slices.map((worst, slice) => Math.max(worst, Number.parseInt(before?.[slice] ?? '0', 16)).toString(16)).join('')

function prepareAll(database: DatabaseSync) {
  const removing = (table: string): StatementSync =>
    database.prepare(
      `DELETE FROM ${table} WHERE (source, at) IN (SELECT source, at FROM ${table} WHERE source = ? AND at < ? ORDER BY at LIMIT ?)`,
    )
  const within = 'WHERE source = ? AND at >= ? AND at < ? ORDER BY at'
  return {
    sources: database.prepare('SELECT number, id FROM source'),
    source: database.prepare('SELECT number FROM source WHERE id = ?'),
    putSource: database.prepare('INSERT INTO source (id) VALUES (?) ON CONFLICT DO NOTHING'),
    dropSource: database.prepare('DELETE FROM source WHERE number = ?'),
    recent: database.prepare('SELECT at, source, measured FROM recent'),
    recentOf: database.prepare('SELECT measured FROM recent WHERE at = ? AND source = ?'),
    putRecent: database.prepare('INSERT INTO recent (at, source, measured) VALUES (?, ?, ?) ON CONFLICT DO NOTHING'),
    replaceRecent: database.prepare('UPDATE recent SET measured = ? WHERE at = ? AND source = ?'),
    dropRecent: database.prepare('DELETE FROM recent WHERE at = ? AND source = ?'),
    minutesOf: database.prepare('SELECT measured FROM minutes WHERE source = ? AND at = ?'),
    hoursWithMinutes: database.prepare(`SELECT at FROM minutes ${within}`),
    putMinutes: database.prepare('INSERT OR REPLACE INTO minutes (source, at, measured) VALUES (?, ?, ?)'),
    dropMinutes: removing('minutes'),
    hourOf: database.prepare('SELECT measured, strip FROM hour WHERE source = ? AND at = ?'),
    hours: database.prepare(`SELECT at, measured FROM hour ${within}`),
    strips: database.prepare(`SELECT at, strip FROM hour ${within}`),
    putHour: database.prepare('INSERT OR REPLACE INTO hour (source, at, measured, strip) VALUES (?, ?, ?, ?)'),
    dropHours: removing('hour'),
    dayOf: database.prepare('SELECT measured FROM day WHERE source = ? AND at = ?'),
    days: database.prepare(`SELECT at, measured FROM day ${within}`),
    putDay: database.prepare('INSERT OR REPLACE INTO day (source, at, measured) VALUES (?, ?, ?)'),
    dropDays: removing('day'),
  } satisfies Record<string, StatementSync>
}
