export interface VolumeLimits {
  /** A segment of the log; more than the largest request, and its room is set aside as a whole. */
  readonly segmentBytes: number
  /** Blocks in the log that are not in the backing yet, and parts of blocks; at the limit writers wait. */
  readonly pendingMax: number
  /** Of these, synced ones are written to the backing from so many on, or after so long. */
  readonly applyAt: number
  readonly applyMs: number
  /** The log is synced so long after the first write of those that nobody waits for. */
  readonly syncMs: number
  /** With nothing written for so long, it is noted how far the log is synced. */
  readonly noteMs: number
  /** Between a checkpoint and the next. */
  readonly checkpointMs: number
  /** How long to wait for room at the backing before the next try. */
  readonly retryMs: number
  /** A sync that takes longer is told. */
  readonly slowMs: number
}

export const defaultLimits: VolumeLimits = {
  segmentBytes: 64 * 1024 ** 2,
  pendingMax: 65_536,
  applyAt: 8192,
  applyMs: 500,
  syncMs: 25,
  noteMs: 200,
  checkpointMs: 5000,
  retryMs: 1000,
  slowMs: 30_000,
}

/** The one that is written, the spare one, and two that wait for the backing. */
export const segmentsMin = 4
/** Requests that become records by one write at most. */
export const requestsAtOnce = 256
/** Regions told by one answer. */
export const regionsToldMax = 4096
