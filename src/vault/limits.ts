const MiB = 1024 * 1024

/** Every bound of the vault's core, by name. */
export interface Limits {
  /** A segment of this many bytes is sealed and the next one begun. */
  readonly segmentBytes: number
  /** A segment this old is sealed at the next append. */
  readonly segmentAgeMs: number
  /** A pack of this many bytes is sealed and the next one begun. */
  readonly packBytes: number
  /** Blocks and batches that have arrived and are not durable yet; senders wait beyond. */
  readonly waitingBytesMax: number
  /** Of decoded blocks kept for reading. */
  readonly blockCacheBytes: number
  /** The same in each thread that answers for views or keeps indexes. */
  readonly threadBlockCacheBytes: number
  /** Left free for indexes and the registry: no append while less is free. */
  readonly reserveBytes: number
  /** Rests between tries while there is no room. */
  readonly retryMsMin: number
  readonly retryMsMax: number
  /** Share of a pack's chunk bytes in use below which it is rewritten. */
  readonly packLiveShareMin: number
  /** For so long an agent may refer to a chunk after it was told that the chunk is here, even if nothing else does. */
  readonly touchedKeptMs: number
}

export const defaultLimits: Limits = {
  segmentBytes: 64 * MiB,
  segmentAgeMs: 3_600_000,
  packBytes: 64 * MiB,
  waitingBytesMax: 64 * MiB,
  blockCacheBytes: 64 * MiB,
  threadBlockCacheBytes: 24 * MiB,
  reserveBytes: 64 * MiB,
  retryMsMin: 200,
  retryMsMax: 10_000,
  packLiveShareMin: 0.5,
  touchedKeptMs: 86_400_000,
}
