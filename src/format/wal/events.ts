import type { Lsn, Timeline } from '../../model/lsn.ts'
import type { Moment } from '../../model/moment.ts'

/** Where a record stands. */
export interface RecordPlace {
  /** Its first byte; what a recovery target names. */
  readonly start: Lsn
  /** Where the next record may start: what PostgreSQL calls the record's end, and reports as its own position. */
  readonly end: Lsn
}

/** The end of one transaction. Names of the server are decoded as UTF-8; what is not comes with replacement characters. */
export interface TransactionEnd {
  readonly xid: number
  /** How many subtransactions with an xid of their own end with it. */
  readonly subtransactions: number
  /** When the server says it ended; taken before the record has its place, so that neighbours may be out of order. */
  readonly time: Moment
  /** The oid of the database, where the record tells it. */
  readonly database?: number
}

/** What a record says. */
export type WalRecord =
  | ({ readonly kind: 'commit' } & TransactionEnd)
  | ({ readonly kind: 'abort' } & TransactionEnd)
  /** The name is told only under wal_level=logical; the xid is always the prepared transaction's. */
  | ({ readonly kind: 'commit-prepared'; readonly gid?: string } & TransactionEnd)
  | ({ readonly kind: 'abort-prepared'; readonly gid?: string } & TransactionEnd)
  | ({ readonly kind: 'prepare'; readonly gid: string } & TransactionEnd)
  | { readonly kind: 'restore-point'; readonly name: string; readonly time: Moment }
  | {
      readonly kind: 'checkpoint'
      readonly shutdown: boolean
      /** Recovery that begins at this checkpoint reads the WAL from here. */
      readonly redo: Lsn
      readonly timeline: Timeline
      /** Differs from `timeline` in the first checkpoint after a promotion. */
      readonly previousTimeline: Timeline
      readonly time: Moment
    }
  | {
      readonly kind: 'end-of-recovery'
      readonly timeline: Timeline
      readonly previousTimeline: Timeline
      readonly time: Moment
    }
  | ({ readonly kind: 'parameter-change' } & ServerParameters)
  /** The rest of the WAL segment is unused; `end` is where the next one starts. */
  | { readonly kind: 'segment-switch' }
  /** The record that began at `overwritten` was cut short by a crash and counts for nothing. */
  | { readonly kind: 'overwrite-contrecord'; readonly overwritten: Lsn; readonly time: Moment }

export type WalEvent = RecordPlace & WalRecord

/** What a standby must have no less of than its primary, and what decides whether the WAL is complete. */
export interface ServerParameters {
  readonly walLevel: 'minimal' | 'replica' | 'logical'
  readonly maxConnections: number
  readonly maxWorkerProcesses: number
  readonly maxWalSenders: number
  readonly maxPreparedTransactions: number
  readonly maxLocksPerTransaction: number
  readonly walLogHints: boolean
  readonly trackCommitTimestamp: boolean
}
