/**
 * What an NBD server serves: a range of bytes under a name. The server has checked each request against size, flags and
 * limits; what an export is asked is within them.
 *
 * What is answered is seen: a request that is taken after another one was answered finds what that one wrote, over any
 * connection. A `flush` is answered once everything that was answered before it was taken is durable, over any
 * connection; so is a forced request for itself.
 */
export interface Export {
  readonly name: string
  /** For the list of exports. */
  readonly description: string
  readonly bytes: number
  readonly isReadOnly: boolean
  /** Requests stand at multiples of it and are as long: a power of two up to 64 KiB, of which `bytes` is a multiple. Absent: 1. */
  readonly blockBytes?: number
  /** A `zero` is not slower for being longer. */
  readonly hasFastZero?: boolean
  /** Requests that are answered by nobody yet, of one read of one socket, in their order. It may answer in any order and at
   * any time, but each exactly once. What it answers before it returns goes out in one piece. */
  take(requests: readonly ExportRequest[]): void
  /**
   * What is known of the bytes from `at` on; for copies that leave out what holds nothing. The first one starts at `at`, each
   * where the one before it ends; they need not reach to the end of what was asked, but hold one byte at least.
   * Absent: everything counts as data.
   */
  extents?(at: number, bytes: number): Promise<readonly ExportExtent[]>
}

/** One request, of one byte at least. Lengths of `zero` and `trim` go up to 4 GiB and must not be buffered. */
export type ExportRequest =
  | {
      readonly kind: 'read'
      readonly at: number
      readonly bytes: number
      /** Where the bytes are to be put, as many as are asked for, before the answer. It is part of the reply: nothing is copied. */
      readonly into: Uint8Array
      readonly answer: Answer
    }
  | {
      readonly kind: 'write'
      readonly at: number
      readonly bytes: number
      /** To be looked at until the answer; then its memory may be used again for something else. */
      readonly data: Uint8Array
      readonly isForced: boolean
      readonly answer: Answer
    }
  | {
      readonly kind: 'zero'
      readonly at: number
      readonly bytes: number
      readonly isForced: boolean
      /** Whether room may be given back; otherwise the client wants to be able to write there whatever happens. */
      readonly mayMakeHole: boolean
      readonly answer: Answer
    }
  | {
      readonly kind: 'trim'
      readonly at: number
      readonly bytes: number
      readonly isForced: boolean
      readonly answer: Answer
    }
  | { readonly kind: 'flush'; readonly answer: Answer }

export interface ExportExtent {
  readonly at: number
  readonly bytes: number
  /** A hole reads as zeros and takes no room; what is `zero` only reads as zeros. */
  readonly is: 'data' | 'hole' | 'zero'
}

/** How one request is answered: by either, once. */
export interface Answer {
  done(): void
  failed(error: NbdError): void
}

/** Errors of the protocol: those that Linux calls by these names. */
export type NbdError = 'EPERM' | 'EIO' | 'ENOMEM' | 'EINVAL' | 'ENOSPC' | 'EOVERFLOW' | 'ENOTSUP' | 'ESHUTDOWN'
