import { formatLsn, type Lsn } from '../../src/model/lsn.ts'
import { type Finished, run, Service } from '../command.ts'
import { type Cluster, openFolder } from '../postgres/cluster.ts'
import { owner, postgresProgram } from '../postgres/programs.ts'

/** pg_receivewal into a directory, by a slot of its own; no TLS, no encryption. `synchronous`: what comes is synced at once. */
export class ReceiveWal {
  readonly directory: string
  readonly #cluster: Cluster
  readonly #slot: string
  readonly #options: readonly string[]

  constructor(cluster: Cluster, place: string, slot: string, options: readonly string[] = []) {
    this.#cluster = cluster
    this.#slot = slot
    this.#options = options
    this.directory = openFolder(place, `receivewal-${slot}`)
  }

  /** From where the slot is. */
  drain = (end: Lsn): Promise<Finished> =>
    run(this.#command(['--no-loop', `--endpos=${formatLsn(end)}`]), this.#settings)

  follow = (): Service => new Service(this.#command([]), { ...this.#settings, stopSignal: 'SIGINT' })

  #command(parameters: readonly string[]): string[] {
    const program = postgresProgram('pg_receivewal')
    // The name by which commits wait for it.
    const connection = `--dbname=application_name=${this.#slot}`
    return [program, '-D', this.directory, `--slot=${this.#slot}`, connection, ...this.#options, ...parameters]
  }

  get #settings() {
    return { user: owner, environment: this.#cluster.environment, directory: this.directory }
  }
}
