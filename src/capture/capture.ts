import type { ChunkId } from '../model/change.ts'
import type { Moment } from '../model/moment.ts'
import type { CaptureReport } from '../model/report.ts'
import type { Sequence } from '../model/sequence.ts'
import type { SourceDefinition } from '../model/source.ts'

/**
 * The seam of every kind of source: something that watches it and turns what happens into batches.
 *
 * The vault's durable journal is the truth. A capture is opened with what is known to be durable (or safely spooled)
 * and continues from there; where its own memory of the source does not fit that, it asks for the manifest (what the
 * vault's tree holds) and converges from it. It never has to be told twice, and never forgets something at the source
 * before `durable` has covered it.
 */
export interface Capture extends AsyncDisposable {
  /**
   * What the capture has to say, in order. The consumer's pace is the producer's: until the next item is asked for,
   * the capture holds at most a few items and goes on only noticing (not reading) what becomes dirty.
   * Ends when the capture is disposed; throws when it cannot go on (`source-vanished` is not such a case: it waits).
   */
  readonly outputs: AsyncIterable<CaptureOutput>
  /** Of the last change before what it has to say, where the cursor it was opened with tells. */
  readonly resumedMoment?: Moment | undefined
  /** Everything up to `sequence` is durable at the vault. Calls are monotonic. */
  durable(sequence: Sequence): void
  /**
   * The vault has acknowledged everything up to `sequence`: told at once, before the agent has noted it for a start
   * without a line. For sources that keep their own log until then, and for those whose commits wait for it.
   */
  acknowledged?(sequence: Sequence): void
  /** Answers an `offer`: true where the chunk has to be sent. */
  answer(tag: number, missing: readonly boolean[]): void
  /** Answers `manifest-wanted`: a local file with the tree as the vault holds it at `at` (format/manifest.ts). */
  manifest(path: string, at: Sequence): void
  /** Whether the vault is reached. While it is not, a capture makes no offers and does no bulk work. */
  line(up: boolean): void
  /** Puts a user's mark after all that is known now; its sequence comes back in the batch with this tag. */
  mark(tag: number, label: string): void
  /** Compares everything with the source again, as after a gap. */
  reconcile(): void
  /**
   * Changes made from `since` on were not taken one by one. The capture puts a `hole` mark before the next batch, and
   * reconciles.
   */
  hole(since: Moment, reason: string): void
}

export interface CaptureRequest {
  readonly source: SourceDefinition
  /** A directory of this agent, private to this source, for what the capture remembers. Losing it loses nothing. */
  readonly stateDirectory: string
  /** The last sequence that is durable or spooled; the next change gets the one after. */
  readonly resumeAt: Sequence
  /**
   * The cursor of the batch at `resumeAt`; empty at the beginning of a journal. Cursors of different batches differ,
   * also of those that a capture makes anew for the same sequences after a crash (the moment is part of them): by its
   * cursor the agent knows whether the vault's last batch is the one it has.
   */
  readonly cursor: Uint8Array
  /** HMAC key of chunk ids, from the vault. */
  readonly chunkKey: Uint8Array
}

export type CaptureOutput =
  | CapturedBatch
  | { readonly kind: 'offer'; readonly tag: number; readonly ids: readonly ChunkId[] }
  | { readonly kind: 'manifest-wanted'; readonly reason: string }
  | { readonly kind: 'report'; readonly report: CaptureReport }

export interface CapturedBatch {
  readonly kind: 'batch'
  readonly first: Sequence
  readonly last: Sequence
  /** Moment of its last change. */
  readonly moment: Moment
  /** Encoded blocks (format/block.ts) that have to arrive before the batch. */
  readonly blocks: readonly Uint8Array[]
  /** The encoded batch (format/batch.ts). */
  readonly bytes: Uint8Array
  /** Part of a baseline or reconciliation, as against a change that just happened. */
  readonly bulk: boolean
  /** Tags of the marks in it, each with its sequence. */
  readonly marks: readonly { readonly tag: number; readonly sequence: Sequence }[]
}
