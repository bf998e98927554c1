import { join } from 'node:path'
import { run } from '../command.ts'
import { ours } from '../record.ts'
import type { Assignment, Row } from '../row.ts'
import type { VolumeFigure } from '../volume-index.ts'

const row = 'volume-view'

export const volumeView: Row = { name: row, title: 'Volumes: any point of one of 100 GiB with many writes', measure }

/** The index alone, since that decides how fast a point opens: contents are read when they are asked for. */
async function measure({ record, runs, isQuick, tell }: Assignment): Promise<void> {
  const writes = isQuick ? 400_000 : 4_000_000
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
