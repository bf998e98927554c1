import type { Clock } from '../../base/clock.ts'
import { type Lsn, parseLsn } from '../../model/lsn.ts'
import { type Moment, moment } from '../../model/moment.ts'
import type { Connection } from './protocol/connection.ts'

/** All that the server had flushed at `moment`, by our clock, lies before `end`. */
export interface Flushed {
  readonly moment: Moment
  readonly end: Lsn
}

/**
 * Asks a server how much of its log is flushed: by SQL, because the stream itself cannot tell. A keepalive says how much has been
 * sent, and a walsender may answer several without a look at the log between them.
 */
export class FlushedPosition {
  readonly #sql: Connection
  readonly #clock: Clock
  readonly #failed: (error: unknown) => void
  #known: Flushed | undefined
  #isAsking = false

  constructor(sql: Connection, clock: Clock, failed: (error: unknown) => void) {
    this.#sql = sql
    this.#clock = clock
    this.#failed = failed
  }

  /** What was answered last. */
  get known(): Flushed | undefined {
    return this.#known
  }

  /** One question at a time: a server that hangs is not asked on and on. */
  ask(): void {
    if (this.#isAsking) return
    this.#isAsking = true
    const asked = moment(this.#clock.now())
    this.#sql.query('SELECT pg_catalog.pg_current_wal_flush_lsn()').then(
      ([set]) => {
        this.#isAsking = false
        this.#known = { moment: asked, end: parseLsn(set?.rows[0]?.[0] ?? '') }
      },
      (error: unknown) => this.#failed(error),
    )
  }
}
