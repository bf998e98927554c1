import type { Moment } from '../model/moment.ts'
import type { Sequence } from '../model/sequence.ts'
import type { CaptureOutput } from './capture.ts'

/** To the thread of a capture: the calls of `Capture`, and what has been taken from its outputs. */
export type ToEngine =
  | { readonly kind: 'acknowledged'; readonly sequence: Sequence }
  | { readonly kind: 'answer'; readonly tag: number; readonly missing: readonly boolean[] }
  | { readonly kind: 'line'; readonly up: boolean }
  | { readonly kind: 'mark'; readonly tag: number; readonly label: string }
  | { readonly kind: 'reconcile' }
  | { readonly kind: 'hole'; readonly since: Moment; readonly reason: string }
  /** An output that counted this many bytes is no longer waiting. */
  | { readonly kind: 'taken'; readonly bytes: number }
  | { readonly kind: 'stop' }

export type FromEngine =
  | { readonly kind: 'output'; readonly output: CaptureOutput }
  | { readonly kind: 'failed'; readonly error: Error }
