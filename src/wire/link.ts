/**
 * A connection, as a door: an ordered stream of bytes each way, whatever carries it (TLS, or a simulated network).
 * Disposing closes in order: what was sent is still delivered where the peer takes it within `lingerMs`.
 */
export interface Link extends AsyncDisposable {
  /**
   * Takes the parts, in order of the calls, and keeps them as they are: they must not be changed afterwards.
   * Resolves when there is room for more; rejects with `unreachable` once the connection is gone.
   */
  send(parts: readonly Uint8Array[]): Promise<void>
  /** Pieces of any size, as they arrive; ends when the peer closed in order, throws `unreachable` otherwise. */
  readonly received: AsyncIterable<Uint8Array>
  /** Closes at once; what was not sent is lost. */
  destroy(reason: string): void
}

export const lingerMs = 2000
