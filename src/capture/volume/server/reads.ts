import { setImmediate as turn } from 'node:timers/promises'
import { assert } from '../../../base/assert.ts'
import { isSystemError } from '../../../base/errors.ts'
import type { ExportExtent, ExportRequest } from '../../../nbd/export.ts'
import type { Backing } from './files.ts'
import type { Segment, VolumeLog } from './log.ts'
import type { PendingBlocks, Span } from './pending.ts'
import type { UnderWay } from './under-way.ts'

type Read = Extract<ExportRequest, { kind: 'read' }>

/** What is told of by one answer at most: where it is cut into ever so many pieces, by that many of them, and a part more. */
const extentBytesMax = 256 * 1024 ** 2
const extentPartBytes = 4 * 1024 ** 2
const extentsEnough = 4096

export interface ReadsParts {
  readonly log: VolumeLog
  readonly pending: PendingBlocks
  readonly backing: Backing
  readonly underWay: UnderWay
}

/**
 * Reads of a volume, composed of what is pending, from the log, and the backing. What is in the memory of the system is read at once,
 * the rest by the thread pool. A change that comes while a read waits may be in it or not, as its answer and the read's cross.
 */
export class VolumeReads {
  readonly #parts: ReadsParts
  #hasFailed = false
  #telling: Promise<unknown> = Promise.resolve()

  constructor(parts: ReadsParts) {
    this.#parts = parts
  }

  read({ at, bytes, into, answer }: Read): void {
    const target = Buffer.from(into.buffer, into.byteOffset, bytes)
    const later: Promise<void>[] = []
    try {
      for (const span of this.#parts.pending.spans(at, bytes)) {
        const part = target.subarray(span.at - at, span.at - at + span.bytes)
        const reading = this.#fill(part, span)
        if (reading) later.push(reading)
      }
    } catch (error) {
      later.push(Promise.reject(error))
    }
    if (later.length === 0) return answer.done()
    // Not before all have ended: the place of a reply that is sent may be used for another one.
    void Promise.allSettled(later).then((ended) => {
      const failed = ended.find((one) => one.status === 'rejected')
      if (failed === undefined && !this.#hasFailed) return answer.done()
      // The volume goes on: as on any disk, what cannot be read is an error of that place.
      answer.failed(isSystemError(failed?.reason, 'ENOMEM') ? 'ENOMEM' : 'EIO')
    })
  }

  fail(): void {
    this.#hasFailed = true
  }

  #fill(into: Buffer, { at, from }: Span): Promise<void> | undefined {
    const { log, backing, underWay } = this.#parts
    if (from === 'zeros') into.fill(0)
    else if (from === 'backing') {
      if (!backing.readNow(into, at)) return underWay.watch('backing', 'read', backing.read(into, at))
    } else {
      const { segment, position } = log.place(from)
      if (!segment.file.readNow(into, position)) return underWay.watch('log', 'read', readLog(segment, into, position))
    }
    return undefined
  }

  /** One after the other, with others in between: it may take a while, and many may be asked for at once. */
  extents(at: number, bytes: number): Promise<readonly ExportExtent[]> {
    const told = this.#telling.then(() => turn()).then(() => this.#extents(at, bytes))
    this.#telling = told.catch(() => undefined)
    return told
  }

  #extents(at: number, bytes: number): readonly ExportExtent[] {
    const extents: ExportExtent[] = []
    const add = (start: number, length: number, is: ExportExtent['is']): void => {
      const last = extents.at(-1)
      if (length === 0) return
      if (last?.is === is) extents[extents.length - 1] = { ...last, bytes: last.bytes + length }
      else extents.push({ at: start, bytes: length, is })
    }
    const end = at + Math.min(bytes, extentBytesMax)
    for (let from = at; from < end && extents.length < extentsEnough; from += extentPartBytes) {
      for (const span of this.#parts.pending.spans(from, Math.min(extentPartBytes, end - from))) {
        if (span.from === 'backing') this.#tellBacking(span, add)
        else add(span.at, span.bytes, span.from === 'zeros' ? 'zero' : 'data')
      }
    }
    return extents
  }

  #tellBacking({ at, bytes }: Span, add: (start: number, length: number, is: ExportExtent['is']) => void): void {
    let position = at
    for (const data of this.#parts.backing.dataRanges(at, bytes)) {
      add(position, data.at - position, 'hole')
      add(data.at, data.bytes, 'data')
      position = data.at + data.bytes
    }
    add(position, at + bytes - position, 'hole')
  }
}

/** The segment stays meanwhile. */
async function readLog(segment: Segment, into: Buffer, position: number): Promise<void> {
  segment.reads++
  try {
    for (let filled = 0; filled < into.length;) {
      const bytes = await segment.file.read(into.subarray(filled), position + filled)
      assert(bytes > 0, 'what is pending is in the log')
      filled += bytes
    }
  } finally {
    segment.reads--
  }
}
