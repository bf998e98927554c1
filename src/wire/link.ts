/**
 * A connection, as a door: an ordered stream of bytes each way, whatever carries it (TLS, or a simulated network).
 */
export interface Link extends AsyncDisposable {
  /** Resolves when there is room for more; rejects with `unreachable` once the connection is gone. */
  send(parts: readonly Uint8Array[]): Promise<void>
  /** Pieces of any size, as they arrive; ends when the peer closed in order, throws `unreachable` otherwise. */
  readonly received: AsyncIterable<Uint8Array>
  /** Closes at once; what was not sent is lost. */
  destroy(reason: string): void
}
