import { isSystemError, messageOf, systemCode } from '../../base/errors.ts'
import type { Export, ExportExtent, ExportRequest, NbdError } from '../../nbd/export.ts'
import type { Range } from '../../model/change.ts'
import { type ExportName, momentExtents, sectorBytes } from './moment-export.ts'
import type { VolumeOrigin } from './origin.ts'
import { type Overlay, overlayBlockBytes } from './overlay.ts'
import type { VolumePages } from './pages.ts'

type RequestOf<Kind extends ExportRequest['kind']> = Extract<ExportRequest, { kind: Kind }>

export interface OverlayExportParts {
  readonly origin: VolumeOrigin
  readonly pages: VolumePages
  readonly overlay: Overlay
  readonly signal: AbortSignal
  readonly tell: (message: string) => void
}

/** A volume as it stood at one point, to be read and written over NBD: what is written goes to an overlay. */
export class OverlayExport implements Export {
  readonly name: string
  readonly description: string
  readonly bytes: number
  readonly isReadOnly = false
  readonly blockBytes = sectorBytes
  readonly hasFastZero = true
  readonly #parts: OverlayExportParts

  constructor({ name, description }: ExportName, parts: OverlayExportParts) {
    this.name = name
    this.description = description
    this.bytes = parts.origin.bytes
    this.#parts = parts
  }

  take(requests: readonly ExportRequest[]): void {
    for (const request of requests) {
      try {
        const doing = this.#do(request)
        if (doing === undefined) request.answer.done()
        else {
          doing.then(
            () => request.answer.done(),
            (error: unknown) => request.answer.failed(this.#told(error)),
          )
        }
      } catch (error) {
        request.answer.failed(this.#told(error))
      }
    }
  }

  /** Where the overlay has nothing, as the moment tells it; what was written counts as data, zeros too. */
  async extents(at: number, bytes: number): Promise<readonly ExportExtent[]> {
    const { origin, overlay, signal } = this.#parts
    const extents: ExportExtent[] = []
    for (const run of overlay.runs({ at, bytes })) {
      if (run.isHere) extents.push({ at: run.at, bytes: run.bytes, is: 'data' })
      else {
        const told = await momentExtents(origin, run.at, run.bytes, signal)
        extents.push(...told)
        const last = told.at(-1)
        if (last === undefined || last.at + last.bytes < run.at + run.bytes) break
      }
      if (extents.length >= extentsMax) break
    }
    return extents
  }

  /** Nothing is returned where it is done already. */
  #do(request: ExportRequest): Promise<void> | undefined {
    switch (request.kind) {
      case 'read':
        return this.#read(request)
      case 'flush':
        return this.#parts.overlay.flush()
      case 'write':
        return this.#forced(
          request,
          this.#change(request, ({ overlay }) => overlay.write(request.at, request.data)),
        )
      case 'zero':
        return this.#forced(
          request,
          this.#change(request, ({ overlay }) => overlay.zero(request.at, request.bytes)),
        )
      default:
        return this.#forced(request, this.#trim(request))
    }
  }

  #read({ at, bytes, into }: RequestOf<'read'>): Promise<void> | undefined {
    const { overlay, pages } = this.#parts
    const waiting: Promise<void>[] = []
    for (const run of overlay.runs({ at, bytes })) {
      const part = into.subarray(run.at - at, run.at - at + run.bytes)
      if (run.isHere) overlay.read(run.at, part)
      else {
        const reading = pages.read(run.at, part)
        if (reading !== undefined) waiting.push(reading)
      }
    }
    return waiting.length === 0 ? undefined : Promise.all(waiting).then(() => undefined)
  }

  /** Only whole blocks: of what is trimmed in part, nothing has to become of the rest. */
  #trim({ at, bytes }: RequestOf<'trim'>): undefined {
    const start = Math.ceil(at / overlayBlockBytes) * overlayBlockBytes
    const end =
      at + bytes === this.bytes ? this.bytes : Math.floor((at + bytes) / overlayBlockBytes) * overlayBlockBytes
    if (end > start) this.#parts.overlay.zero(start, end - start)
    return undefined
  }

  /** Changes a range, once the blocks that it covers in part stand in the overlay. */
  #change(range: Range, change: (parts: OverlayExportParts) => void): Promise<void> | undefined {
    const missing = this.#partBlocks(range)
    if (missing.length > 0) return this.#copyUp(missing).then(() => change(this.#parts))
    change(this.#parts)
    return undefined
  }

  /** Blocks that the range covers in part and the overlay does not hold. */
  #partBlocks({ at, bytes }: Range): Range[] {
    const { overlay } = this.#parts
    const end = at + bytes
    const blocks: Range[] = []
    for (const start of new Set([at, end - 1].map((one) => Math.floor(one / overlayBlockBytes) * overlayBlockBytes))) {
      const blockEnd = Math.min(start + overlayBlockBytes, this.bytes)
      const isWhole = at <= start && end >= blockEnd
      if (!isWhole && !overlay.holds(start)) blocks.push({ at: start, bytes: blockEnd - start })
    }
    return blocks
  }

  async #copyUp(blocks: readonly Range[]): Promise<void> {
    const { overlay, pages } = this.#parts
    const copies = blocks.map(({ at, bytes }) => ({ at, data: new Uint8Array(bytes) }))
    await Promise.all(copies.map(({ at, data }) => pages.read(at, data)))
    // Meanwhile another request may have written there: then that is what it holds.
    for (const { at, data } of copies) if (!overlay.holds(at)) overlay.write(at, data)
  }

  #forced({ isForced }: { readonly isForced: boolean }, doing: Promise<void> | undefined): Promise<void> | undefined {
    if (!isForced) return doing
    const { overlay } = this.#parts
    return doing === undefined ? overlay.flush() : doing.then(() => overlay.flush())
  }

  #told(error: unknown): NbdError {
    if (isSystemError(error, 'ENOSPC', 'EDQUOT')) return 'ENOSPC'
    if (systemCode(error) !== undefined) this.#parts.tell(messageOf(error))
    return 'EIO'
  }
}

const extentsMax = 4096
