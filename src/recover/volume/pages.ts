import type { Clock } from '../../base/clock.ts'
import { isCode, messageOf } from '../../base/errors.ts'
import type { Range } from '../../model/change.ts'
import { rangesMax, type VolumeOrigin } from './origin.ts'

/** What is fetched and kept as one. */
const pageBytes = 16 * 1024
/** Of data that is kept. */
export const cacheBytesMax = 256 * 1024 * 1024
/** What a page of zeros counts as. */
const zerosWeight = 64
/** Requests to the vault at once; one more than may be reading ahead. */
const requestsInFlightMax = 4
const aheadInFlightMax = 3
const requestPagesMax = 256
/** Ahead of whoever reads on and on: this much at first, twice as much each time, up to the most. */
const aheadBytesMin = 128 * 1024
const aheadBytesMax = 8 * 1024 * 1024
/** Places remembered from where somebody may read on. */
const coursesMax = 16
/** While the vault cannot be reached a read waits, for so long. */
const awayMsMax = 120_000
const retryMs = 1_000

export interface PagesParts {
  readonly origin: VolumeOrigin
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Told when the vault stops answering and when it answers again, and why bytes could not be had. */
  readonly tell: (message: string) => void
  /** Instead of `cacheBytesMax`. */
  readonly cacheBytes?: number
}

/** Undefined stands for zeros. */
type Page = Uint8Array | undefined

interface Fetch {
  readonly page: number
  readonly fetched: PromiseWithResolvers<void>
}

/**
 * The bytes of a volume as they stood at a point, fetched when they are read, and kept. What is kept has been checked by the
 * origin. Whoever reads on and on is read ahead for.
 */
export class VolumePages {
  readonly bytes: number
  readonly #parts: PagesParts
  readonly #cacheBytes: number
  /** Used last is last. */
  readonly #kept = new Map<number, { readonly page: Page }>()
  #keptBytes = 0
  readonly #fetches = new Map<number, Fetch>()
  #wanted: Fetch[] = []
  #ahead: Fetch[] = []
  #inFlight = 0
  #aheadInFlight = 0
  #isWoken = false
  #courses: { next: number; aheadBytes: number }[] = []

  constructor(parts: PagesParts) {
    this.#parts = parts
    this.#cacheBytes = parts.cacheBytes ?? cacheBytesMax
    this.bytes = parts.origin.bytes
  }

  /** Puts what stands at `at` into `into`: at once where it is kept, which is told by returning nothing. */
  read(at: number, into: Uint8Array): Promise<void> | undefined {
    this.#readAhead(at, at + into.length)
    return this.#copy(at, into) ? undefined : this.#fetchAndCopy(at, into)
  }

  async #fetchAndCopy(at: number, into: Uint8Array): Promise<void> {
    // Where much is read, what came first may have been dropped again by the time the last has come.
    const stepBytes = Math.max(pageBytes, Math.floor(this.#cacheBytes / 4 / pageBytes) * pageBytes)
    for (let done = 0; done < into.length; done += stepBytes) {
      const part = into.subarray(done, done + stepBytes)
      while (!this.#copy(at + done, part)) await this.#fetchMissing(at + done, part.length)
    }
  }

  /** False where some of it is missing. */
  #copy(at: number, into: Uint8Array): boolean {
    for (let done = 0; done < into.length;) {
      const number = Math.floor((at + done) / pageBytes)
      const kept = this.#kept.get(number)
      if (kept === undefined) return false
      const skip = at + done - number * pageBytes
      const count = Math.min(pageBytes - skip, into.length - done)
      if (kept.page === undefined) into.fill(0, done, done + count)
      else into.set(kept.page.subarray(skip, skip + count), done)
      this.#kept.delete(number)
      this.#kept.set(number, kept)
      done += count
    }
    return true
  }

  async #fetchMissing(at: number, bytes: number): Promise<void> {
    const waiting: Promise<void>[] = []
    for (let page = Math.floor(at / pageBytes); page * pageBytes < at + bytes; page++) {
      if (!this.#kept.has(page)) waiting.push(this.#fetch(page, this.#wanted).fetched.promise)
    }
    await Promise.all(waiting)
  }

  #fetch(page: number, queue: Fetch[]): Fetch {
    const known = this.#fetches.get(page)
    if (known !== undefined) {
      const at = queue === this.#wanted ? this.#ahead.indexOf(known) : -1
      if (at !== -1) this.#wanted.push(...this.#ahead.splice(at, 1))
      return known
    }
    const fetch: Fetch = { page, fetched: Promise.withResolvers() }
    // Nobody may be waiting for what is read ahead.
    fetch.fetched.promise.catch(() => undefined)
    this.#fetches.set(page, fetch)
    queue.push(fetch)
    this.#wake()
    return fetch
  }

  /** What is asked for in one go travels in one request. */
  #wake(): void {
    if (this.#isWoken) return
    this.#isWoken = true
    queueMicrotask(() => {
      this.#isWoken = false
      while (this.#inFlight < requestsInFlightMax && this.#wanted.length > 0) {
        void this.#request(this.#wanted.splice(0, requestPagesMax), false)
      }
      while (this.#inFlight < requestsInFlightMax && this.#aheadInFlight < aheadInFlightMax && this.#ahead.length > 0) {
        void this.#request(this.#ahead.splice(0, requestPagesMax), true)
      }
    })
  }

  async #request(fetches: readonly Fetch[], isAhead: boolean): Promise<void> {
    this.#inFlight++
    if (isAhead) this.#aheadInFlight++
    await this.#bring(fetches)
    this.#inFlight--
    if (isAhead) this.#aheadInFlight--
    this.#wake()
  }

  /** Never rejects. Where some of it is damaged, each page is fetched alone. */
  async #bring(fetches: readonly Fetch[]): Promise<void> {
    try {
      const pages = await this.#patiently(fetches.map(({ page }) => page))
      for (const fetch of fetches) {
        this.#keep(fetch.page, pages.get(fetch.page))
        this.#fetches.delete(fetch.page)
        fetch.fetched.resolve()
      }
    } catch (error) {
      if (isCode(error, 'damaged') && fetches.length > 1) {
        for (const fetch of fetches) await this.#bring([fetch])
        return
      }
      if (!this.#parts.signal.aborted) this.#parts.tell(messageOf(error))
      for (const { page, fetched } of fetches) {
        this.#fetches.delete(page)
        fetched.reject(error)
      }
    }
  }

  async #patiently(pages: readonly number[]): Promise<Map<number, Uint8Array>> {
    const { clock, signal, tell } = this.#parts
    const sinceMs = clock.monotonicMs()
    for (let isAway = false; ;) {
      try {
        const brought = await this.#once(pages)
        if (isAway) tell('the vault answers again')
        return brought
      } catch (error) {
        const isPassing = isCode(error, 'unreachable') || isCode(error, 'not-running') || isCode(error, 'interrupted')
        if (!isPassing || signal.aborted || clock.monotonicMs() - sinceMs > awayMsMax) throw error
        if (!isAway) tell(`the vault does not answer, reads wait: ${error.message}`)
        isAway = true
        await clock.sleep(retryMs, signal)
      }
    }
  }

  /** Pages that hold data. */
  async #once(pages: readonly number[]): Promise<Map<number, Uint8Array>> {
    const found = new Map<number, Uint8Array>()
    for (const ranges of inCalls(rangesOf(pages, this.bytes))) {
      for await (const { at, bytes, data } of this.#parts.origin.read(ranges, this.#parts.signal)) {
        if (data === undefined) continue
        for (let done = 0; done < bytes;) {
          const page = Math.floor((at + done) / pageBytes)
          const skip = at + done - page * pageBytes
          const count = Math.min(pageBytes - skip, bytes - done)
          const held = found.get(page) ?? new Uint8Array(pageBytes)
          found.set(page, held)
          held.set(data.subarray(done, done + count), skip)
          done += count
        }
      }
    }
    return found
  }

  #keep(number: number, page: Page): void {
    this.#kept.set(number, { page })
    this.#keptBytes += weightOf(page)
    for (const [oldest, { page: dropped }] of this.#kept) {
      if (this.#keptBytes <= this.#cacheBytes) return
      this.#kept.delete(oldest)
      this.#keptBytes -= weightOf(dropped)
    }
  }

  #readAhead(at: number, end: number): void {
    const course = this.#courses.find(({ next }) => next === at)
    if (course === undefined) {
      this.#courses.push({ next: end, aheadBytes: aheadBytesMin })
      if (this.#courses.length > coursesMax) this.#courses.shift()
      return
    }
    course.next = end
    const upTo = Math.min(end + course.aheadBytes, this.bytes)
    course.aheadBytes = Math.min(course.aheadBytes * 2, aheadBytesMax, this.#cacheBytes / 4)
    if (this.#ahead.length >= requestPagesMax * aheadInFlightMax) return
    for (let page = Math.ceil(end / pageBytes); page * pageBytes < upTo; page++) {
      if (!this.#kept.has(page)) this.#fetch(page, this.#ahead)
    }
  }
}

const weightOf = (page: Page): number => page?.length ?? zerosWeight

/** Neighbours as one range; the last page ends with the volume. */
function rangesOf(pages: readonly number[], volumeBytes: number): Range[] {
  const ranges: { at: number; bytes: number }[] = []
  for (const page of pages.toSorted((a, b) => a - b)) {
    const at = page * pageBytes
    const bytes = Math.min(pageBytes, volumeBytes - at)
    const last = ranges.at(-1)
    if (last !== undefined && last.at + last.bytes === at) last.bytes += bytes
    else ranges.push({ at, bytes })
  }
  return ranges
}

function* inCalls(ranges: readonly Range[]): Generator<readonly Range[]> {
  for (let at = 0; at < ranges.length; at += rangesMax) yield ranges.slice(at, at + rangesMax)
}
