import { assert } from '../../../base/assert.ts'
import { isSystemError } from '../../../base/errors.ts'
import type { ExportExtent, ExportRequest } from '../../../nbd/export.ts'
import type { Backing } from './files.ts'
import type { Segment, VolumeLog } from './log.ts'
import type { PendingBlocks, Span } from './pending.ts'

type Read = Extract<ExportRequest, { kind: 'read' }>

/** What is told of by one answer at most. */
const extentBytesMax = 256 * 1024 ** 2

export interface ReadsParts {
  readonly log: VolumeLog
  readonly pending: PendingBlocks
}

/**
 * Reads of a volume, composed of what is pending, from the log, and the backing. What is in the memory of the system is read at once,
 * the rest by the thread pool. A change that comes while a read waits may be in it or not, as its answer and the read's cross.
 */
export class VolumeReads {
  readonly #parts: ReadsParts
  readonly #backing: Backing
  #hasFailed = false

  constructor(parts: ReadsParts, backing: Backing) {
    this.#parts = parts
    this.#backing = backing
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
    Promise.all(later).then(
      () => (this.#hasFailed ? answer.failed('EIO') : answer.done()),
      // The volume goes on: as on any disk, what cannot be read is an error of that place.
      (error: unknown) => answer.failed(isSystemError(error, 'ENOMEM') ? 'ENOMEM' : 'EIO'),
    )
  }

  fail(): void {
    this.#hasFailed = true
  }

  #fill(into: Buffer, { at, from }: Span): Promise<void> | undefined {
    if (from === 'zeros') into.fill(0)
    else if (from === 'backing') return this.#backing.readNow(into, at) ? undefined : this.#backing.read(into, at)
    else {
      const { segment, position } = this.#parts.log.place(from)
      return segment.file.readNow(into, position) ? undefined : readLog(segment, into, position)
    }
    return undefined
  }

  async extents(at: number, bytes: number): Promise<readonly ExportExtent[]> {
    const extents: ExportExtent[] = []
    const add = (start: number, length: number, is: ExportExtent['is']): void => {
      const last = extents.at(-1)
      if (length === 0) return
      if (last?.is === is) extents[extents.length - 1] = { ...last, bytes: last.bytes + length }
      else extents.push({ at: start, bytes: length, is })
    }
    for (const span of this.#parts.pending.spans(at, Math.min(bytes, extentBytesMax))) {
      if (span.from !== 'backing') {
        add(span.at, span.bytes, span.from === 'zeros' ? 'zero' : 'data')
        continue
      }
      let position = span.at
      for (const data of this.#backing.dataRanges(span.at, span.bytes)) {
        add(position, data.at - position, 'hole')
        add(data.at, data.bytes, 'data')
        position = data.at + data.bytes
      }
      add(position, span.at + span.bytes - position, 'hole')
    }
    return extents
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
