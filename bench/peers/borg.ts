import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Finished, run } from '../command.ts'

/** Encrypted with its key in the repository, zstd level 3. */
export class Borg {
  readonly name = 'borg'
  readonly repository: string
  readonly #environment: Record<string, string>

  constructor(place: string) {
    this.repository = join(place, 'borg')
    this.#environment = {
      BORG_REPO: this.repository,
      BORG_PASSPHRASE: 'only for measuring',
      BORG_BASE_DIR: join(place, 'borg-home'),
      BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes',
    }
    mkdirSync(join(place, 'borg-home'), { recursive: true })
  }

  init = (): Promise<Finished> => run(['borg', 'init', '--encryption=repokey'], { environment: this.#environment })
  backup = (directory: string, archive: string): Promise<Finished> =>
    run(['borg', 'create', '--compression', 'zstd,3', `::${archive}`, directory], { environment: this.#environment })

  /** Into `target`, as absolute paths below it. */
  async restore(archive: string, target: string): Promise<Finished> {
    mkdirSync(target, { recursive: true })
    return run(['borg', 'extract', `::${archive}`], { environment: this.#environment, directory: target })
  }
}
