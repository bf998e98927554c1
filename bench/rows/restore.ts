import { join } from 'node:path'
import { type Finished, run } from '../command.ts'
import { isInstalled } from '../machine.ts'
import { Restic } from '../peers/restic.ts'
import { assertSameTree, discardTree, Place, settle } from '../place.ts'
import { ours } from '../record.ts'
import { type Assignment, inTurn, type Row } from '../row.ts'
import { Tidemark } from '../tidemark.ts'

const row = 'restore'

export const restore: Row = { name: row, title: 'Restore', measure }

async function measure(assignment: Assignment): Promise<void> {
  const { dataset, record, runs, tell } = assignment
  using place = new Place(row)
  const one = await middleFile(join(dataset.directory, 'source'))
  await using tidemark = await Tidemark.start(join(place.directory, 'tidemark'), {
    profileDirectory: assignment.profileDirectory,
  })
  await tidemark.protect('set', dataset.directory)
  await tidemark.stopAgent()
  const contestants = [ourRestore(tidemark)]
  if (isInstalled('restic')) contestants.push(await resticRestore(place.directory, dataset.directory))

  for (let count = 0; count < runs; count++) {
    for (const { name, full, single, shown } of inTurn(contestants, count)) {
      const target = place.fresh('out')
      await settle(dataset.directory)
      const all = await full(target)
      if (count === 0) await assertSameTree(dataset.directory, join(target, dataset.directory))
      discardTree(target)
      const part = await single(one, place.fresh('part'))
      await assertSameTree(one, join(place.directory, 'part', one))
      const content = await shown(one)
      tell(
        `${name}: all ${all.seconds.toFixed(1)} s, ${all.cpuSeconds.toFixed(1)} CPU s; one file ${part.seconds.toFixed(2)} s; shown ${content.seconds.toFixed(2)} s`,
      )
      record.add({ row, what: 'everything: time', unit: 's' }, name, all.seconds)
      record.add({ row, what: 'everything: CPU time', unit: 'CPU s' }, name, all.cpuSeconds)
      record.add({ row, what: 'everything: memory', unit: 'MB' }, name, all.memoryBytes / 1e6)
      record.add({ row, what: 'one file into a directory: time', unit: 's' }, name, part.seconds)
      record.add({ row, what: 'one file to standard output: time', unit: 's' }, name, content.seconds)
    }
  }
}

interface Restorer {
  readonly name: string
  full(target: string): Promise<Finished>
  single(path: string, target: string): Promise<Finished>
  shown(path: string): Promise<Finished>
}

function ourRestore(tidemark: Tidemark): Restorer {
  const withVault = async (parameters: readonly string[]): Promise<Finished> => {
    using watched = tidemark.watchVault()
    const finished = await tidemark.command(parameters)
    const { cpuSeconds, memoryBytes } = watched.usage()
    return {
      ...finished,
      cpuSeconds: finished.cpuSeconds + cpuSeconds,
      memoryBytes: finished.memoryBytes + memoryBytes,
    }
  }
  return {
    name: ours,
    full: (target) => withVault(['restore', 'set', '--to', target]),
    single: (path, target) => withVault(['restore', 'set', '--path', path, '--to', target]),
    shown: (path) => withVault(['cat', `set:${path}`]),
  }
}

async function resticRestore(place: string, directory: string): Promise<Restorer> {
  const restic = new Restic(place)
  await restic.init()
  await restic.backup(directory)
  return {
    name: 'restic',
    full: (target) => restic.restore(target),
    single: (path, target) => restic.restoreOne(path, target),
    shown: (path) => restic.show(path),
  }
}

/** The file that stands in the middle of all. */
async function middleFile(directory: string): Promise<string> {
  const paths = (await run(['find', directory, '-type', 'f', '-size', '+2k'])).output.trim().split('\n').toSorted()
  return paths[paths.length >> 1] as string
}
