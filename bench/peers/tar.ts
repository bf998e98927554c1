import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Finished, runScript } from '../command.ts'

/** What two plain tools do: an archive without encryption, deduplication or index. Synced, as the others do. */
export class Tar {
  readonly name = 'tar, zstd -3'
  readonly archive: string

  constructor(place: string) {
    this.archive = join(place, 'tar', 'archive.tar.zst')
  }

  backup(directory: string): Promise<Finished> {
    mkdirSync(dirname(this.archive), { recursive: true })
    return runScript('set -e; tar -cPf - "$1" | zstd -q -3 -T0 -f -o "$2"; sync "$2"', [directory, this.archive])
  }

  /** Into `target`, as absolute paths below it. */
  restore(target: string): Promise<Finished> {
    mkdirSync(target, { recursive: true })
    return runScript('zstd -q -d -c "$1" | tar -xf - -C "$2"', [this.archive, target])
  }
}
