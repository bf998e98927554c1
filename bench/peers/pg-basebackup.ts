import { join } from 'node:path'
import { type Finished, run } from '../command.ts'
import { type Cluster, openFolder } from '../postgres/cluster.ts'
import { owner, postgresProgram } from '../postgres/programs.ts'

/** pg_basebackup into a tar file, with the WAL it needs, synced as by default. */
export class BaseBackup {
  readonly name = 'pg_basebackup'
  readonly directory: string
  readonly #cluster: Cluster
  #count = 0

  constructor(cluster: Cluster, place: string) {
    this.#cluster = cluster
    this.directory = openFolder(place, 'basebackup')
  }

  backup(): Promise<Finished> {
    const target = join(this.directory, String(this.#count++))
    return run([postgresProgram('pg_basebackup'), '-D', target, '-Ft', '-X', 'stream', '--checkpoint=fast'], {
      user: owner,
      environment: this.#cluster.environment,
    })
  }
}
