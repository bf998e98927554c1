import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { NbdClient } from '../../src/nbd/client.ts'
import { type Finished, pause, run } from '../command.ts'
import { Chance } from '../dataset/chance.ts'
import { blockBytes, changeOf, lastWrites, markedIn, volumeBytes, type Wanted } from '../dataset/volume-writes.ts'
import { Place } from '../place.ts'
import { ours, percentile, type Unit } from '../record.ts'
import type { Assignment, Row } from '../row.ts'
import { Tidemark } from '../tidemark.ts'
import { usageSinceStart } from '../usage.ts'
import type { JournalStep, Stepped } from '../volume/journal.ts'
import type { VolumeFigure } from '../volume-index.ts'

const row = 'volume-view'

export const volumeView: Row = { name: row, title: 'Volumes: any point of one of 100 GiB with many writes', measure }

const pointsPerRun = 10
const readsPerRun = 1000

/**
 * The journal grows step by step, and at each every block that is read is compared with what was written. Making and indexing
 * it takes long and is told in CPU time, so it leaves other work its share (nice); what is told by the clock does not.
 */
async function measure(assignment: Assignment): Promise<void> {
  const { isQuick, tell } = assignment
  await measureIndexAlone(assignment, isQuick ? 400_000 : 4_000_000)
  using place = new Place(row)
  const home = place.fresh('home')
  {
    await using _made = await Tidemark.startVaultOnly(home)
  }
  let before = 0
  const chance = new Chance(3)
  for (const millions of isQuick ? [0.1, 0.4] : [1, 4, 16, 50]) {
    const writes = millions * 1_000_000
    const directory = join(home, 'vault')
    const appended = await step({ is: 'append', directory, writes })
    const perWrite = (appended.cpuSeconds * 1e6) / (writes - before)
    tell(`${millions} million writes: appended, ${perWrite.toFixed(1)} µs of CPU each`)
    const indexed = await step({ is: 'index', directory, writes })
    const add = (what: string, unit: Unit, value: number): void => {
      assignment.record.add({ row, what: `${millions} million writes: ${what}`, unit }, ours, value)
      tell(`${millions} million writes: ${what}: ${value.toFixed(1)} ${unit}`)
    }
    add('indexed from the journal in a second of CPU', 'changes/s', (writes - before) / indexed.cpuSeconds)
    add("index for each write, with SQLite's log", 'bytes', indexed.told.indexBytes / writes)
    add('memory of the process that indexes', 'MB', indexed.memoryBytes / 1e6)
    await look(home, writes, chance, assignment.runs, add)
    before = writes
  }
}

async function look(
  home: string,
  writes: number,
  chance: Chance,
  runs: number,
  add: (what: string, unit: Unit, value: number) => void,
): Promise<void> {
  await using tidemark = await Tidemark.serveVault(home)
  await tidemark.untilIndexed('disk')
  const anyBlock = (): number => chance.below(volumeBytes / blockBytes)
  const points = Array.from({ length: runs * pointsPerRun }, () => changeOf(chance.below(writes)))
  const firsts = points.map((at): Wanted => ({ at, block: anyBlock() }))
  const last = points.at(-1) as number
  const reads = Array.from({ length: runs * readsPerRun }, (): Wanted => ({ at: last, block: anyBlock() }))
  const expected = lastWrites([...firsts, ...reads])
  const opened: number[] = []
  const openedCpu: number[] = []
  const read: number[] = []
  let readerBytes = 0
  for (const [index, first] of firsts.entries()) {
    const began = performance.now()
    const socket = join(home, `${index}.sock`)
    await using service = tidemark.service(['open', 'disk', '--at', `seq:${first.at}`, '--socket', socket])
    for (; !existsSync(socket); await pause(5)) service.assertRunning()
    const client = await connected(socket)
    check(await client.read(first.block * blockBytes, blockBytes), first, expected[index])
    opened.push(performance.now() - began)
    openedCpu.push(usageSinceStart(service.pid).cpuSeconds)
    for (const [number, one] of (first.at === last ? reads : []).entries()) {
      const since = performance.now()
      const block = await client.read(one.block * blockBytes, blockBytes)
      read.push((performance.now() - since) * 1000)
      check(block, one, expected[firsts.length + number])
    }
    readerBytes = Math.max(readerBytes, usageSinceStart(service.pid).memoryBytes)
    client.destroy(new Error('all was read'))
  }
  add('`tidemark open` to the first block read, median', 'ms', percentile(opened, 0.5))
  add('the same, worst', 'ms', Math.max(...opened))
  add('the same, CPU time of the command, median', 'CPU s', percentile(openedCpu, 0.5))
  add('4 KiB read at one point, p50', 'µs', percentile(read, 0.5))
  add('the same, p99', 'µs', percentile(read, 0.99))
  add('memory of `tidemark open`', 'MB', readerBytes / 1e6)
  add('memory of the vault', 'MB', tidemark.vaultUsage.memoryBytes / 1e6)
}

/** The socket is there an instant before it is listened at. */
async function connected(socket: string): Promise<NbdClient> {
  for (let tries = 0; ; tries++) {
    try {
      return await NbdClient.connect({ at: { path: socket } }, new AbortController().signal)
    } catch (error) {
      if (tries === 200) throw error
      await pause(5)
    }
  }
}

function check(block: Buffer, { at, block: place }: Wanted, expected: number | undefined): void {
  const found = markedIn(block)
  if (found !== expected) throw new Error(`block ${place} at change ${at}: write ${found} instead of ${expected}`)
}

/** Without a journal and a vault around it. */
async function measureIndexAlone({ record, runs, tell }: Assignment, writes: number): Promise<void> {
  const program = join(import.meta.dirname, '..', 'volume-index.ts')
  for (let count = 0; count < runs; count++) {
    const { output, memoryBytes, cpuSeconds } = await run([
      ...[process.execPath, '--disable-warning=ExperimentalWarning', program],
      ...['--json', '--writes', String(writes)],
    ])
    for (const { value, ...figure } of JSON.parse(output) as readonly VolumeFigure[])
      record.add({ row, ...figure }, ours, value)
    record.add({ row, what: 'memory', unit: 'MB' }, ours, memoryBytes / 1e6)
    tell(
      `${writes} writes applied and looked at in ${cpuSeconds.toFixed(0)} CPU s, ${(memoryBytes / 1e6).toFixed(0)} MB`,
    )
  }
}

async function step(told: JournalStep): Promise<Finished & { readonly told: Stepped }> {
  const program = join(import.meta.dirname, '..', 'volume', 'journal.ts')
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', program, JSON.stringify(told)]
  const finished = await run(['nice', '-n', '19', ...command])
  return { ...finished, told: JSON.parse(finished.output) as Stepped }
}
