import * as z from 'zod'
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { isCode } from '../base/errors.ts'
import type { CapturedBatch } from '../capture/capture.ts'
import { decodeBatch } from '../format/batch.ts'
import { type Moment, moment } from '../model/moment.ts'
import { advance, beforeFirst, type Sequence, sequence } from '../model/sequence.ts'
import type { ShippedBatch } from '../wire/ship.ts'
import { Wake } from '../base/wake.ts'
import type { Holes } from './holes.ts'
import { Spool, type SpooledBatch, type SpoolParts } from './spool.ts'

/** Unacknowledged output of one source in memory; what is more goes to the spool. */
export const memoryBytesMax = 32 * 1024 * 1024
/** While more than this (or what the line takes) is held and bulk is among it, the capture is not asked for more. */
export const bulkBytesMin = 2 * 1024 * 1024
/** However much the line takes: live changes find room in memory beside bulk. */
export const bulkBytesLimit = 16 * 1024 * 1024
/** A shorter stop is only a slow batch. */
const stoppedMsMin = 1000
/** How often a full backlog looks again whether there is room. */
const retryMs = 2000

/** Where the vault's journal was known to end. */
interface Base {
  readonly sequence: Sequence
  /** Undefined where it is not known. */
  readonly cursor: Uint8Array | undefined
  /** Of the change at `sequence`, where that is known. */
  readonly moment: Moment | undefined
}

interface Found {
  /** As it was noted. */
  readonly known: Base | undefined
  readonly base: Base | undefined
  /** The last batch of the spool. */
  readonly end: SpooledBatch | undefined
}

export interface BacklogParts extends SpoolParts {
  readonly clock: Clock
  readonly holes: Holes
  readonly memoryBytesMax?: number | undefined
}

/** What came of adding: with `stoppedSince`, changes after that moment could not be taken one by one. */
export interface Added {
  readonly stoppedSince?: Moment
}

/**
 * What a source's capture has said and the vault has not acknowledged: a part on disk (the spool), then a part in memory.
 * While the line is up batches stay in memory, within a limit; when it goes down, they and what follows go to disk.
 *
 *   base  <  spool  <  memory  <  next batch of the capture
 *
 * The memory part is lost with the process, though the vault may have got it: so whether the vault's journal is the one
 * that this continues is told by the cursor of its last batch, not by its sequence alone.
 */
export class Backlog implements AsyncDisposable {
  readonly grown = new Wake()
  /** What is held delays the live change that may come next. Set to what keeps the line busy. */
  bulkBytesMax = bulkBytesMin
  readonly #freed = new Wake()
  readonly #parts: BacklogParts
  readonly #spool: Spool
  #memory: SpooledBatch[] = []
  #memoryBytes = 0
  #base: Base | undefined
  /** The base as it is on disk. */
  #noted: Base | undefined
  #noting: Promise<unknown> = Promise.resolve()
  /** Handed out in this session, wherever they are held now, and not acknowledged: their cursors will be asked for. */
  #shipped: { readonly last: Sequence; readonly moment: Moment; readonly bytes: Uint8Array }[] = []
  #acknowledged: { readonly last: Sequence; readonly moment: Moment; readonly bytes: Uint8Array } | undefined
  #end: { readonly sequence: Sequence; readonly moment: Moment | undefined }
  #isLineUp = false
  #bulkHeld = 0
  #isFull = false
  /** Of the spool: what it holds is known only to who opens it anew. */
  #failure: { readonly error: unknown } | undefined
  readonly #failed = new Wake()
  /** Work on the spool, one after the other. */
  #spoolWork: Promise<unknown> = Promise.resolve()

  private constructor(parts: BacklogParts, spool: Spool, { known, base, end }: Found) {
    this.#parts = parts
    this.#spool = spool
    this.#base = base
    this.#noted = known
    this.#end = end
      ? { sequence: end.last, moment: end.moment }
      : { sequence: base?.sequence ?? beforeFirst, moment: base?.moment }
  }

  static async open(parts: BacklogParts): Promise<Backlog> {
    const spool = await Spool.open(parts)
    const known = await readBase(parts)
    // What the vault is known to have was only on its way out.
    if (known) await spool.release(known.sequence)
    const end = await readableEnd(spool)
    if (spool.damage !== undefined) {
      const since = end?.moment ?? known?.moment ?? moment(parts.clock.now())
      await parts.holes.add({ since, reason: `the spool was damaged: ${spool.damage}` })
      await spool.removeLost()
    }
    if (spool.isEmpty) return new Backlog(parts, spool, { known, base: known, end })
    const before = advance(spool.start, -1)
    const base = known?.sequence === before ? known : { sequence: before, cursor: undefined, moment: undefined }
    return new Backlog(parts, spool, { known, base, end })
  }

  /** Whether anything is known of the vault's journal; without that nothing can be captured. */
  get isKnown(): boolean {
    return this.#base !== undefined
  }

  get isEmpty(): boolean {
    // Files that are acknowledged to their end may still be on their way out.
    return this.#memory.length === 0 && (this.#spool.isEmpty || this.#spool.end <= this.acknowledgedUpTo)
  }

  /** No room is left, and the capture is not asked for more. */
  get isFull(): boolean {
    return this.#isFull
  }

  /** Why a part of the spool was lost. */
  get damage(): string | undefined {
    return this.#spool.damage
  }

  get acknowledgedUpTo(): Sequence {
    return this.#base?.sequence ?? beforeFirst
  }

  /** Up to where a start without a line would know that the vault has everything: the capture may forget so much. */
  get notedUpTo(): Sequence {
    return this.#noted?.sequence ?? beforeFirst
  }

  get end(): Sequence {
    return this.#end.sequence
  }

  /** Of the last change that is held or acknowledged, where it is known. */
  get endMoment(): Moment | undefined {
    return this.#end.moment
  }

  /** Of the last change known to be at the vault. */
  get acknowledgedMoment(): Moment | undefined {
    return this.#base?.moment
  }

  get memoryBytes(): number {
    return this.#memoryBytes
  }

  get spoolBytes(): number {
    return this.#spool.bytes
  }

  /** Of the batch at `end`, for opening the capture there. */
  async endCursor(): Promise<Uint8Array> {
    const held = this.#memory.at(-1) ?? (this.#spool.isEmpty ? undefined : await this.#spool.endingAt(this.#spool.end))
    return held ? decodeBatch(held.bytes).cursor : (this.#base?.cursor ?? new Uint8Array())
  }

  /** The line went up or down. */
  line(isUp: boolean): void {
    this.#isLineUp = isUp
    this.#freed.wake()
    if (!isUp && this.#memory.length > 0) this.#inBackground(() => this.#spill())
  }

  /** Takes the next batch; resolves when it is kept, which with all room gone is when some is freed. */
  async add(batch: CapturedBatch, signal: AbortSignal): Promise<Added> {
    assert(batch.first === advance(this.end, 1), 'a capture goes on where it was opened, without a gap')
    const { first, last, moment: at, blocks, bytes, bulk } = batch
    const kept: SpooledBatch = { first, last, moment: at, blocks, bytes, bulk }
    const startedAt = this.#parts.clock.monotonicMs()
    let refused = false
    while (!(await this.#inOrder(() => this.#keep(kept)))) {
      refused ||= !this.#isLineUp || !bulk
      this.#isFull = refused
      await this.#freedOrLater(signal)
    }
    this.#isFull = false
    this.#end = { sequence: last, moment: at }
    this.grown.wake()
    const stoppedMs = this.#parts.clock.monotonicMs() - startedAt
    return refused && stoppedMs > stoppedMsMin ? { stoppedSince: at } : {}
  }

  /** Resolves when the capture should be asked for more. */
  async wantsMore(signal: AbortSignal): Promise<void> {
    await this.#freed.until(() => {
      const waits = this.#isLineUp && this.#bulkHeld > 0 && this.#memoryBytes > this.bulkBytesMax
      return waits ? undefined : true
    }, signal)
  }

  async #keep(batch: SpooledBatch): Promise<boolean> {
    const fits = this.#memoryBytes + bytesOf(batch) <= (this.#parts.memoryBytesMax ?? memoryBytesMax)
    const isAlone = this.#memory.length === 0
    if (this.#isLineUp && (fits || isAlone)) return this.#remember(batch)
    // Bulk has no hurry: while the line is up it waits at the source instead of on our disk.
    if (this.#isLineUp && batch.bulk) return false
    if (await this.#spill(batch)) return true
    return fits ? this.#remember(batch) : false
  }

  #remember(batch: SpooledBatch): true {
    this.#memory.push(batch)
    this.#memoryBytes += bytesOf(batch)
    if (batch.bulk) this.#bulkHeld++
    return true
  }

  /** Moves what is in memory to the spool, and `more` after it. */
  async #spill(more?: SpooledBatch): Promise<boolean> {
    // What went from memory by an acknowledgement may follow all that is on disk: a gap, unless that goes as well.
    if (!this.#spool.isEmpty && this.acknowledgedUpTo >= this.#spool.end) {
      await this.#release()
    }
    const moved = [...this.#memory]
    const batches = more ? [...moved, more] : moved
    if (batches.length === 0) return true
    if (!(await this.#spool.append(batches))) return false
    // What was acknowledged meanwhile is gone from memory already, and goes from the spool with its file.
    for (const batch of moved) if (this.#memory[0] === batch) this.#forget()
    if (this.acknowledgedUpTo >= this.#spool.firstFileEnd) await this.#release()
    return true
  }

  /** Files go once it is noted that the vault has them, so that a start never goes on from before them. */
  async #release(): Promise<void> {
    const durable = this.acknowledgedUpTo
    await this.save()
    await this.#spool.release(durable)
  }

  /** Makes disk hold everything up to `end`, where there is room: what goes on from there cannot go back behind it. */
  async keepAll(): Promise<void> {
    await this.#inOrder(() => this.#spill())
    await this.save()
  }

  #forget(): SpooledBatch | undefined {
    const batch = this.#memory.shift()
    if (!batch) return undefined
    this.#memoryBytes -= bytesOf(batch)
    if (batch.bulk) this.#bulkHeld--
    return batch
  }

  /** The batch that begins at `first`, as soon as there is one. */
  async next(first: Sequence, signal: AbortSignal): Promise<ShippedBatch> {
    for (;;) {
      const held = this.#memory.find((batch) => batch.first === first)
      if (held) return this.#toShip(held)
      if (!this.#spool.isEmpty && first >= this.#spool.start && first <= this.#spool.end) {
        return this.#toShip(await this.#spool.read(first))
      }
      await this.grown.wait(signal)
    }
  }

  /** What is held, from the batch that begins at `first` on. */
  async *heldFrom(first: Sequence): AsyncGenerator<ShippedBatch> {
    for (let next = first; next <= this.end;) {
      const inMemory = this.#memory.find((batch) => batch.first === next)
      if (!inMemory && (this.#spool.isEmpty || next < this.#spool.start || next > this.#spool.end)) return
      const batch = inMemory ?? (await this.#spool.read(next))
      yield batch
      next = advance(batch.last, 1)
    }
  }

  #toShip(batch: SpooledBatch): SpooledBatch {
    this.#shipped.push({ last: batch.last, moment: batch.moment, bytes: batch.bytes })
    return batch
  }

  /** Everything up to `durable` is at the vault. */
  acknowledged(durable: Sequence): void {
    while (this.#memory[0] && this.#memory[0].last <= durable) this.#forget()
    while (this.#shipped[0] && this.#shipped[0].last <= durable) this.#acknowledged = this.#shipped.shift()
    const batch = this.#acknowledged
    if (batch?.last === durable) {
      // Decoded when it is asked for: most acknowledgements are followed by another at once.
      this.#base = lazyBase(batch)
    }
    if (!this.#spool.isEmpty && this.#spool.firstFileEnd <= durable) this.#inBackground(() => this.#release())
    this.#freed.wake()
  }

  /** Whether the vault's journal, which ends at `durable` with this cursor, is the one that this continues. */
  async continues(durable: Sequence, cursor: Uint8Array): Promise<boolean> {
    this.#shipped = []
    const same = (known: Uint8Array | undefined): boolean => known === undefined || Buffer.compare(known, cursor) === 0
    const base = this.#base
    if (base === undefined) return this.isEmpty && this.#accept(durable, cursor)
    if (durable === base.sequence) return same(base.cursor) && this.#accept(durable, cursor, base.moment)
    if (durable < base.sequence || durable > this.end) return false
    const held = this.#memory.find(({ last }) => last === durable) ?? (await this.#spool.endingAt(durable))
    return held !== undefined && same(decodeBatch(held.bytes).cursor) && this.#accept(durable, cursor, held.moment)
  }

  /** What the vault has says as much as an acknowledgement, and the one that was sent may have been lost. */
  #accept(durable: Sequence, cursor: Uint8Array, at?: Moment): true {
    this.acknowledged(durable)
    this.#base = { sequence: durable, cursor, moment: at }
    if (this.isEmpty) this.#end = { sequence: durable, moment: at ?? this.#end.moment }
    return true
  }

  /** Forgets all that is held and goes on from the vault's end. No capture is open. */
  async restart(durable: Sequence, cursor: Uint8Array): Promise<void> {
    this.#memory = []
    this.#memoryBytes = 0
    this.#shipped = []
    this.#acknowledged = undefined
    this.#bulkHeld = 0
    await this.#inOrder(() => this.#spool.drop())
    this.#base = { sequence: durable, cursor, moment: undefined }
    this.#end = { sequence: durable, moment: undefined }
    // A note about another line of the journal must not outlive it.
    if (await this.save()) return
    await this.#parts.store.remove(baseName)
    this.#noted = undefined
  }

  /** Writes down where the vault's journal is known to end, for a start without a line. False where there is no room. */
  save(): Promise<boolean> {
    const saved = this.#noting.then(() => this.#save())
    this.#noting = saved.catch(() => undefined)
    return saved
  }

  async #save(): Promise<boolean> {
    const base = this.#base
    if (!base || base === this.#noted) return true
    const { sequence: at, cursor, moment: when } = base
    const told = { sequence: at, cursor: cursor && Buffer.from(cursor).toString('base64'), moment: when }
    try {
      await this.#parts.store.replace(baseName, Buffer.from(JSON.stringify(told)))
    } catch (error) {
      // An older note is as good as none: the cursor tells.
      if (!isCode(error, 'vault-full')) throw error
      return false
    }
    this.#noted = base
    return true
  }

  /** Rejects when work on the spool has failed, whoever asked for it. */
  async failing(signal: AbortSignal): Promise<void> {
    const { error } = await this.#failed.until(() => this.#failure, signal)
    throw error
  }

  async #freedOrLater(signal: AbortSignal): Promise<void> {
    const inside = new AbortController()
    const joined = AbortSignal.any([signal, inside.signal])
    const waits = [this.#freed.wait(joined), this.#parts.clock.sleep(retryMs, joined)]
    try {
      await Promise.race(waits)
    } finally {
      inside.abort()
      await Promise.allSettled(waits)
    }
  }

  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#spoolWork.then(work)
    this.#spoolWork = done.catch((error: unknown) => {
      this.#failure ??= { error }
      this.#failed.wake()
    })
    return done
  }

  #inBackground(work: () => Promise<unknown>): void {
    // Whoever waits for `failing` is told.
    this.#inOrder(work).catch(() => undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#spoolWork
    await using _spool = this.#spool
    if (this.#memory.length > 0) await this.#inOrder(() => this.#spill())
    await this.save()
  }
}

const bytesOf = ({ blocks, bytes }: ShippedBatch): number =>
  blocks.reduce((sum, block) => sum + block.length, bytes.length)

/** The last batch of the spool, with what follows the first damage given up. */
async function readableEnd(spool: Spool): Promise<SpooledBatch | undefined> {
  while (!spool.isEmpty) {
    try {
      return await spool.endingAt(spool.end)
    } catch (error) {
      if (!isCode(error, 'damaged')) throw error
      spool.giveUpLast(error.message)
    }
  }
  return undefined
}

function lazyBase({ last, moment: at, bytes }: { last: Sequence; moment: Moment; bytes: Uint8Array }): Base {
  let cursor: Uint8Array | undefined
  return {
    sequence: last,
    moment: at,
    get cursor() {
      return (cursor ??= decodeBatch(bytes).cursor)
    },
  }
}

const baseName = 'acknowledged.json'
const baseSchema = z.object({
  sequence: z.int().nonnegative().transform(sequence),
  cursor: z.base64().optional(),
  moment: z.int().nonnegative().transform(moment).optional(),
})

async function readBase({ store }: BacklogParts): Promise<Base | undefined> {
  try {
    const text = (await store.read(baseName, 0, 64 * 1024)).toString('utf8')
    const { sequence: at, cursor, moment: when } = baseSchema.parse(JSON.parse(text))
    return { sequence: at, cursor: cursor === undefined ? undefined : Buffer.from(cursor, 'base64'), moment: when }
  } catch (error) {
    // Absent, or not readable any more: then only the vault knows, and it is asked first.
    if (isCode(error, 'not-found') || error instanceof SyntaxError || error instanceof z.ZodError) return undefined
    throw error
  }
}
