import type { Export, ExportExtent, ExportRequest } from '../../src/nbd/export.ts'

export interface MemoryExport extends Export {
  readonly memory: Buffer
  /** What was taken, in its order; without data. */
  readonly taken: { readonly kind: ExportRequest['kind']; readonly at: number; readonly bytes: number }[]
  /** Requests that wait while it is held. */
  readonly waiting: ExportRequest[]
  /** Keeps requests back, until `release`. */
  hold(): void
  /** Answers what waits, in the order given by `order`, and what comes from now on at once. */
  release(order?: (waiting: readonly ExportRequest[]) => readonly ExportRequest[]): void
  /** The next requests fail. */
  fails: 'EIO' | 'ENOSPC' | undefined
}

const unitBytes = 4096
const zeros = Buffer.alloc(unitBytes)

/** An export of bytes in memory, which answers at once unless it is held. Blocks of zeros are told as zeros. */
export function memoryExport({
  name = '',
  bytes = 1024 * 1024,
  isReadOnly = false,
  ...more
}: Partial<Pick<Export, 'name' | 'bytes' | 'isReadOnly' | 'blockBytes' | 'hasFastZero'>> = {}): MemoryExport {
  const memory = Buffer.alloc(bytes)
  const waiting: ExportRequest[] = []
  let isHeld = false
  const answer = (request: ExportRequest): void => {
    if (served.fails !== undefined) return request.answer.failed(served.fails)
    if (request.kind === 'read') memory.copy(request.into, 0, request.at, request.at + request.bytes)
    else if (request.kind === 'write') memory.set(request.data, request.at)
    else if (request.kind !== 'flush') memory.fill(0, request.at, request.at + request.bytes)
    request.answer.done()
  }
  const served: MemoryExport = {
    name,
    description: 'in memory',
    bytes,
    isReadOnly,
    ...more,
    memory,
    taken: [],
    waiting,
    fails: undefined,
    hold: () => void (isHeld = true),
    release: (order = (all) => all) => {
      isHeld = false
      for (const request of order(waiting.splice(0))) answer(request)
    },
    take: (requests) => {
      for (const request of requests) {
        const { at, bytes: length } = request.kind === 'flush' ? { at: 0, bytes: 0 } : request
        served.taken.push({ kind: request.kind, at, bytes: length })
        if (isHeld) waiting.push(request)
        else answer(request)
      }
    },
    extents: async (from, length) => {
      const extents: ExportExtent[] = []
      for (let at = from; at < from + length;) {
        const end = Math.min(from + length, (Math.floor(at / unitBytes) + 1) * unitBytes)
        const isZero = memory.compare(zeros, 0, end - at, at, end) === 0
        extents.push({ at, bytes: end - at, is: isZero ? 'hole' : 'data' })
        at = end
      }
      return extents
    },
  }
  return served
}
