import { TidemarkError } from '../base/errors.ts'
import { type Moment, parseMoment } from './moment.ts'
import { parseSequence, type Sequence, sequence } from './sequence.ts'

/** What a person may ask for. */
export type PointRequest =
  | { readonly kind: 'latest' }
  | { readonly kind: 'moment'; readonly moment: Moment }
  | { readonly kind: 'sequence'; readonly sequence: Sequence }
  | { readonly kind: 'mark'; readonly label: string }
  /** The last flush of a volume at or before the moment; without one the last of all. */
  | { readonly kind: 'flush'; readonly moment: Moment | undefined }

/** A place in a journal that can be restored, and what is known of it. */
export interface RecoveryPoint {
  readonly sequence: Sequence
  /** Of the change at `sequence`: the last one at or before what was asked for. */
  readonly moment: Moment
  /** When the vault received it, by the vault's clock. */
  readonly received: Moment
  /** The capture knew of nothing that was not captured yet. */
  readonly settled: boolean
  /** The tree may be behind the source here. */
  readonly suspect?: Span | undefined
  /** Changes around here were not kept one by one. */
  readonly hole?: Span | undefined
}

/** The same with no more than a restore needs: it stands still while the journal goes on. */
export interface RestorePoint {
  readonly at: Sequence
  readonly moment: Moment
  /** Why parts may be missing, older or newer than the rest. */
  readonly suspect?: string | undefined
}

export interface Span {
  readonly since: Moment
  /** Undefined while it goes on. */
  readonly until: Moment | undefined
  readonly reason: string
}

/**
 * `latest`; `seq:N`, N decimal or sixteen hexadecimal digits; `mark:LABEL`, the newest mark of that label; `flush`, of a
 * volume the last one, or `flush:MOMENT`; or a moment as in model/moment.ts. Anything else is `bad-request`.
 */
export function parsePoint(text: string, now: Moment): PointRequest {
  if (text === 'latest') return { kind: 'latest' }
  if (text.startsWith('mark:') && text.length > 5) return { kind: 'mark', label: text.slice(5) }
  if (text === 'flush') return { kind: 'flush', moment: undefined }
  const flushed = text.startsWith('flush:') ? parseMoment(text.slice(6), now) : undefined
  if (flushed !== undefined) return { kind: 'flush', moment: flushed }
  const digits = /^seq:([0-9a-f]+)$/.exec(text)?.[1]
  if (digits?.length === 16 && digits.startsWith('000')) return { kind: 'sequence', sequence: parseSequence(digits) }
  if (digits !== undefined && /^\d{1,15}$/.test(digits)) return { kind: 'sequence', sequence: sequence(Number(digits)) }
  const moment = parseMoment(text, now)
  if (moment !== undefined) return { kind: 'moment', moment }
  throw new TidemarkError('bad-request', {
    message: `${JSON.stringify(text)} is not a recovery point`,
    hint: 'give "latest", a moment ("2026-11-22 14:03:11.250", "10m ago"), "seq:N", "mark:LABEL", or of a volume "flush"',
  })
}
