import { join } from 'node:path'
import { type Finished, run } from '../command.ts'
import { Place } from '../place.ts'
import { ours, percentile } from '../record.ts'
import type { Assignment, Row } from '../row.ts'
import type { Looked, Made, ViewStep } from './view-journal.ts'

const row = 'view'

export const view: Row = { name: row, title: 'Looking at any point of a journal of ten million changes', measure }

/** The journal is made once: it takes minutes, and looking at it changes nothing. */
async function measure({ record, runs, isQuick, tell }: Assignment): Promise<void> {
  const changes = isQuick ? 500_000 : 10_000_000
  const files = isQuick ? 50_000 : 200_000
  const samples = isQuick ? 300 : 1000
  using place = new Place(row)
  const directory = join(place.directory, 'vault')
  const add = (what: string, unit: 'ms' | 's' | 'MB' | 'changes/s', value: number): void =>
    record.add({ row, what, unit }, ours, value)

  const making = await step<Made>({ is: 'make', directory, changes, files })
  const { appendedSeconds, indexedSeconds, indexBytes } = making.told
  tell(
    `${making.told.changes} changes appended in ${appendedSeconds.toFixed(0)} s, indexed after ${indexedSeconds.toFixed(0)} s, ${making.cpuSeconds.toFixed(0)} CPU s, ${(making.memoryBytes / 1e6).toFixed(0)} MB of memory, index ${(indexBytes / 1e6).toFixed(0)} MB`,
  )
  add('all appended and indexed', 'changes/s', making.told.changes / indexedSeconds)
  add('the same: memory', 'MB', making.memoryBytes / 1e6)
  add('size of the index', 'MB', indexBytes / 1e6)

  for (let count = 0; count < runs; count++) {
    const looking = await step<Looked>({ is: 'look', directory, files, samples })
    const { first, open, list, read } = looking.told
    for (const [what, times] of [
      ['opened, listed and read in a thread just started', first],
      ['point opened', open],
      ['folder of 100 listed', list],
      ['file of 4 KiB read', read],
    ] as const) {
      for (const share of [0.5, 0.99]) add(`${what}, p${share * 100}`, 'ms', percentile(times, share))
      tell(`${what}: p50 ${percentile(times, 0.5).toFixed(2)} ms, p99 ${percentile(times, 0.99).toFixed(2)} ms`)
    }
    add('memory', 'MB', looking.memoryBytes / 1e6)
    tell(`memory: ${(looking.memoryBytes / 1e6).toFixed(0)} MB`)
  }
}

async function step<T>(told: ViewStep): Promise<Finished & { readonly told: T }> {
  const program = join(import.meta.dirname, 'view-journal.ts')
  const finished = await run([process.execPath, '--disable-warning=ExperimentalWarning', program, JSON.stringify(told)])
  return { ...finished, told: JSON.parse(finished.output) as T }
}
