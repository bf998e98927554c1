import type { Export, ExportExtent, ExportRequest } from '../../nbd/export.ts'
import type { VolumeOrigin } from './origin.ts'
import type { VolumePages } from './pages.ts'

/** What clients address: disks of 512-byte sectors have their partition tables by these. */
export const sectorBytes = 512

export interface ExportName {
  readonly name: string
  readonly description: string
}

/** A volume as it stood at one point, to be read over NBD. */
export class MomentExport implements Export {
  readonly name: string
  readonly description: string
  readonly bytes: number
  readonly isReadOnly = true
  readonly blockBytes = sectorBytes
  readonly #origin: VolumeOrigin
  readonly #pages: VolumePages
  readonly #signal: AbortSignal

  constructor({ name, description }: ExportName, origin: VolumeOrigin, pages: VolumePages, signal: AbortSignal) {
    this.name = name
    this.description = description
    this.bytes = origin.bytes
    this.#origin = origin
    this.#pages = pages
    this.#signal = signal
  }

  take(requests: readonly ExportRequest[]): void {
    for (const request of requests) {
      if (request.kind === 'read') this.#read(request)
      else if (request.kind === 'flush') request.answer.done()
      else request.answer.failed('EPERM')
    }
  }

  extents(at: number, bytes: number): Promise<readonly ExportExtent[]> {
    return momentExtents(this.#origin, at, bytes, this.#signal)
  }

  #read({ at, into, answer }: Extract<ExportRequest, { kind: 'read' }>): void {
    const reading = this.#pages.read(at, into)
    if (reading === undefined) return answer.done()
    // Why it failed was told by the pages.
    reading.then(
      () => answer.done(),
      () => answer.failed('EIO'),
    )
  }
}

/** Data and holes, each where the one before ends, as far as the vault tells them in one answer. */
export async function momentExtents(
  origin: VolumeOrigin,
  at: number,
  bytes: number,
  signal: AbortSignal,
): Promise<ExportExtent[]> {
  const { until, data } = await origin.extents({ at, bytes }, signal)
  const extents: ExportExtent[] = []
  let reached = at
  for (const range of data) {
    if (range.at > reached) extents.push({ at: reached, bytes: range.at - reached, is: 'hole' })
    extents.push({ ...range, is: 'data' })
    reached = range.at + range.bytes
  }
  if (reached < until) extents.push({ at: reached, bytes: until - reached, is: 'hole' })
  return extents
}
