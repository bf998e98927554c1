import { join } from 'node:path'
import { type Finished, run } from '../command.ts'

/** Repository version 2, compression as it is by default, its cache in a place of its own. */
export class Restic {
  readonly name = 'restic'
  readonly repository: string
  readonly #environment: Record<string, string>

  constructor(place: string) {
    this.repository = join(place, 'restic')
    this.#environment = {
      RESTIC_REPOSITORY: this.repository,
      RESTIC_PASSWORD: 'only for measuring',
      RESTIC_CACHE_DIR: join(place, 'restic-cache'),
    }
  }

  init = (): Promise<Finished> => this.#restic('init', '--repository-version', '2')
  backup = (directory: string): Promise<Finished> => this.#restic('backup', '--quiet', directory)
  restore = (target: string): Promise<Finished> => this.#restic('restore', 'latest', '--quiet', '--target', target)
  restoreOne = (path: string, target: string): Promise<Finished> =>
    this.#restic('restore', 'latest', '--quiet', '--include', path, '--target', target)
  show = (path: string): Promise<Finished> => this.#restic('dump', 'latest', path)

  #restic(...parameters: string[]): Promise<Finished> {
    return run(['restic', ...parameters], { environment: this.#environment })
  }
}
