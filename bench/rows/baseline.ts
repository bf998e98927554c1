import { dirname, join } from 'node:path'
import type { Finished } from '../command.ts'
import { isInstalled } from '../machine.ts'
import { Borg } from '../peers/borg.ts'
import { Restic } from '../peers/restic.ts'
import { Tar } from '../peers/tar.ts'
import { assertSameTree, discardTree, Place, settle, storedBytes } from '../place.ts'
import { ours } from '../record.ts'
import { type Assignment, inTurn, type Row } from '../row.ts'
import { Tidemark } from '../tidemark.ts'

const row = 'baseline'

export const baseline: Row = { name: row, title: 'First full protection', measure }

interface Outcome {
  readonly finished: Omit<Finished, 'output'>
  readonly storedBytes: number
}

interface Contestant {
  readonly name: string
  /** Empty at first; with `check`, what was stored is brought back and compared. */
  protect(place: string, directory: string, check: boolean): Promise<Outcome>
}

async function measure(assignment: Assignment): Promise<void> {
  const { dataset, record, runs, profileDirectory, tell } = assignment
  const contestants = [
    tidemark(assignment),
    ...[restic, borg, tar].filter(({ name }) => isInstalled(name.split(',')[0] as string)),
  ]
  for (let count = 0; count < runs; count++) {
    // A profile is of the protection alone.
    const isChecked = count === 0 && profileDirectory === undefined
    for (const contestant of inTurn(contestants, count)) {
      using place = new Place(row)
      await settle(dataset.directory)
      const { finished, storedBytes: bytes } = await contestant.protect(place.directory, dataset.directory, isChecked)
      tell(
        `${contestant.name}: ${finished.seconds.toFixed(1)} s, ${finished.cpuSeconds.toFixed(1)} CPU s, ${Math.round(bytes / 1e6)} MB stored`,
      )
      record.add({ row, what: 'time', unit: 's' }, contestant.name, finished.seconds)
      record.add({ row, what: 'CPU time', unit: 'CPU s' }, contestant.name, finished.cpuSeconds)
      record.add({ row, what: 'memory', unit: 'MB' }, contestant.name, finished.memoryBytes / 1e6)
      record.add({ row, what: 'stored', unit: 'MB' }, contestant.name, bytes / 1e6)
    }
  }
}

function tidemark({ profileDirectory, record }: Assignment): Contestant {
  return {
    name: ours,
    async protect(place, directory, check) {
      await using tidemark = await Tidemark.start(join(place, 'tidemark'), { profileDirectory })
      using watched = tidemark.watch()
      const began = performance.now()
      await tidemark.protect('set', directory)
      const finished = { ...watched.usage(), seconds: (performance.now() - began) / 1000 }
      if (check) {
        await compareWith(directory, place, (target) => tidemark.command(['restore', 'set', '--to', target]))
      }
      // What rests there: the logs of its databases are emptied.
      await tidemark.stopAgent()
      await tidemark.stopVault()
      const bytes = tidemark.vaultBytes
      record.add({ row, what: 'stored, of it derived', unit: 'MB' }, ours, tidemark.derivedBytes / 1e6)
      return { finished, storedBytes: bytes }
    },
  }
}

const restic: Contestant = {
  name: 'restic',
  async protect(place, directory, check) {
    const repository = new Restic(place)
    await repository.init()
    const finished = await repository.backup(directory)
    const bytes = storedBytes(repository.repository)
    if (check) await compareWith(directory, place, (target) => repository.restore(target))
    return { finished, storedBytes: bytes }
  },
}

const borg: Contestant = {
  name: 'borg',
  async protect(place, directory, check) {
    const repository = new Borg(place)
    await repository.init()
    const finished = await repository.backup(directory, 'first')
    const bytes = storedBytes(repository.repository)
    if (check) await compareWith(directory, place, (target) => repository.restore('first', target))
    return { finished, storedBytes: bytes }
  },
}

const tar: Contestant = {
  name: 'tar, zstd -3',
  async protect(place, directory, check) {
    const archive = new Tar(place)
    const finished = await archive.backup(directory)
    const bytes = storedBytes(dirname(archive.archive))
    if (check) await compareWith(directory, place, (target) => archive.restore(target))
    return { finished, storedBytes: bytes }
  },
}

async function compareWith(
  directory: string,
  place: string,
  restore: (target: string) => Promise<unknown>,
): Promise<void> {
  const target = join(place, 'out')
  await restore(target)
  await assertSameTree(directory, join(target, directory))
  discardTree(target)
}
