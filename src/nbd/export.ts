/**
 * What an NBD server serves: a range of bytes under a name. The server has checked each request against size, flags and
 * limits; what an export is asked is within them.
 */
export interface Export {
  readonly name: string
  /** For the list of exports. */
  readonly description: string
  readonly bytes: number
  readonly isReadOnly: boolean
  /** Requests that are answered by nobody yet, of one read of one socket, in their order. It may answer in any order and at
   * any time, but each exactly once. What it answers before it returns goes out in one piece. */
  take(requests: readonly ExportRequest[]): void
  /** Ranges that are known to hold zeros, or nothing; for copies that leave them out. Absent: everything counts as data. */
  extents?(at: number, bytes: number): Promise<readonly ExportExtent[]>
}

/**
 * One request. `data` of a write belongs to whoever takes it and is not changed afterwards. Lengths of `zero` and `trim` go
 * up to 4 GiB and must not be buffered.
 */
export type ExportRequest =
  | { readonly kind: 'read'; readonly at: number; readonly bytes: number; readonly answer: Answer }
  | {
      readonly kind: 'write'
      readonly at: number
      readonly data: Uint8Array
      readonly isForced: boolean
      readonly answer: Answer
    }
  | {
      readonly kind: 'zero'
      readonly at: number
      readonly bytes: number
      readonly isForced: boolean
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
  readonly is: 'data' | 'hole' | 'zero'
}

/** How one request is answered. */
export interface Answer {
  /** `data` for a read and only for a read: its bytes in pieces, exactly as many as asked for. They are sent before they may change. */
  done(data?: readonly Uint8Array[]): void
  failed(error: NbdError): void
}

/** Errors of the protocol: those that Linux calls by these names. */
export type NbdError = 'EPERM' | 'EIO' | 'ENOMEM' | 'EINVAL' | 'ENOSPC' | 'EOVERFLOW' | 'ENOTSUP' | 'ESHUTDOWN'
