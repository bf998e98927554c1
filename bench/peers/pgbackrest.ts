import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Finished, run } from '../command.ts'
import { type Cluster, openFolder, type Parameters } from '../postgres/cluster.ts'
import { owner } from '../postgres/programs.ts'

/** pgBackRest with two processes, lz4, not encrypted, on the same disk. */
export class PgBackRest {
  readonly name = 'pgbackrest, 2 processes, lz4'
  readonly repository: string
  readonly #configuration: string

  constructor(place: string) {
    const folder = openFolder(place, 'pgbackrest')
    this.repository = join(folder, 'repository')
    this.#configuration = join(folder, 'pgbackrest.conf')
  }

  /** For the cluster that it protects. */
  get parameters(): Parameters {
    return {
      archive_mode: 'on',
      archive_command: `pgbackrest --config=${this.#configuration} --stanza=bench archive-push %p`,
    }
  }

  async init(cluster: Cluster): Promise<void> {
    const folder = join(this.repository, '..')
    const lines = [
      '[global]',
      `repo1-path=${this.repository}`,
      'repo1-retention-full=9',
      'process-max=2',
      'compress-type=lz4',
      'start-fast=y',
      'log-level-file=off',
      `lock-path=${join(folder, 'lock')}`,
      `spool-path=${join(folder, 'spool')}`,
      '[bench]',
      `pg1-path=${cluster.data}`,
      `pg1-socket-path=${cluster.folder}`,
      `pg1-port=${cluster.port}`,
      'pg1-user=postgres',
    ]
    writeFileSync(this.#configuration, `${lines.join('\n')}\n`)
    await this.#pgbackrest('stanza-create')
  }

  backup = (type: 'full' | 'incr'): Promise<Finished> => this.#pgbackrest('backup', `--type=${type}`)

  /** What is restored then asks for its WAL itself, and opens for writing at its end. */
  restore = (target: string): Promise<Finished> =>
    this.#pgbackrest('restore', `--pg1-path=${target}`, '--archive-mode=off', '--type=default')

  #pgbackrest(command: string, ...parameters: string[]): Promise<Finished> {
    const all = ['pgbackrest', `--config=${this.#configuration}`, '--stanza=bench', ...parameters, command]
    return run(all, { user: owner, directory: '/' })
  }
}
