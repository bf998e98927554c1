import type { Moment } from '../../model/moment.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { SourceDefinition } from '../../model/source.ts'
import type { CaptureOutput } from '../capture.ts'
import type { WatchingOptions } from './watching.ts'

/** What a capture is made of, as it travels to its thread. */
export interface EngineRequest {
  readonly source: SourceDefinition
  readonly stateDirectory: string
  readonly resumeAt: Sequence
  readonly cursor: Uint8Array
  readonly chunkKey: Uint8Array
  /** Directories of the agent that are never captured, besides its state directory. */
  readonly never: readonly string[]
  readonly watching: WatchingOptions
}

/** To the engine: the calls of `Capture`, and what has been taken from its outputs. */
export type ToEngine =
  | { readonly kind: 'durable'; readonly sequence: Sequence }
  | { readonly kind: 'answer'; readonly tag: number; readonly missing: readonly boolean[] }
  | { readonly kind: 'manifest'; readonly path: string; readonly at: Sequence }
  | { readonly kind: 'line'; readonly up: boolean }
  | { readonly kind: 'mark'; readonly tag: number; readonly label: string }
  | { readonly kind: 'reconcile' }
  | { readonly kind: 'hole'; readonly since: Moment; readonly reason: string }
  /** An output that counted this many bytes is no longer waiting. */
  | { readonly kind: 'taken'; readonly bulk: boolean; readonly bytes: number }
  | { readonly kind: 'stop' }

export type FromEngine =
  /** Rung after each message to the engine. */
  | { readonly kind: 'ready'; readonly wakeFd: number }
  | { readonly kind: 'output'; readonly output: CaptureOutput }
  | { readonly kind: 'failed'; readonly error: Error }
  | { readonly kind: 'stopped' }
