import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { benchDirectory, fullSize, makeDataset, quickSize } from './dataset.ts'
import { describeMachine, machineLines, watchersOfFileSystems } from './machine.ts'
import { markdown, Record } from './record.ts'
import type { Row } from './row.ts'
import { baseline } from './rows/baseline.ts'
import { ingest } from './rows/ingest.ts'
import { live } from './rows/live.ts'
import { reconcile } from './rows/reconcile.ts'
import { restore } from './rows/restore.ts'
import { view } from './rows/view.ts'

const rows: readonly Row[] = [baseline, reconcile, restore, live, ingest, view]

const help = `npm run bench -- [row…] [options]     measures against peers that are installed; all rows unless some are named

Rows: ${rows.map(({ name }) => name).join(' ')}
      clean            delete the data that is kept between runs
Options:
  --quick              a tenth of the data; not written to bench/results.md
  --runs COUNT         of each, in turn (3)
  --json FILE          every figure, as JSON
  --cpu-prof FOLDER    leave CPU profiles of the vault and the agent there
`

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'quick': { type: 'boolean', default: false },
    'runs': { type: 'string', default: '3' },
    'json': { type: 'string' },
    'cpu-prof': { type: 'string' },
    'help': { type: 'boolean', short: 'h', default: false },
  },
})

const began = performance.now()
const tell = (line: string): void =>
  void process.stderr.write(`${((performance.now() - began) / 1000).toFixed(0).padStart(5)} s  ${line}\n`)

async function measureAll(): Promise<void> {
  const unknown = positionals.filter((name) => !rows.some((row) => row.name === name))
  if (unknown.length > 0) throw new Error(`there is no row ${unknown.join(', ')}\n${help}`)
  const chosen = rows.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
  const runs = Number(options.runs)
  if (!Number.isInteger(runs) || runs < 1) throw new Error('--runs takes a number from 1')
  mkdirSync(benchDirectory, { recursive: true })
  const machine = describeMachine(benchDirectory)
  const dataset = makeDataset(options.quick ? quickSize : fullSize, tell)
  for (const watcher of watchersOfFileSystems()) {
    tell(`${watcher} listens to changes of file systems (fanotify); figures may suffer from it`)
  }
  const record = new Record()
  for (const row of chosen) {
    tell(`${row.name}: ${row.title}`)
    await row.measure({ record, dataset, runs, isQuick: options.quick, profileDirectory: options['cpu-prof'], tell })
  }
  const report = describe(record, runs, machineLines(machine))
  process.stdout.write(report)
  if (options.json !== undefined)
    writeFileSync(
      options.json,
      `${JSON.stringify({ machine, size: dataset.size, runs, figures: record.figures }, undefined, 2)}\n`,
    )
  const isWhole = !options.quick && chosen.length === rows.length
  if (isWhole) writeFileSync(join(import.meta.dirname, 'results.md'), report)
}

function describe(record: Record, runs: number, machine: string): string {
  const titles = Object.fromEntries(rows.map(({ name, title }) => [name, title]))
  return `# Measured

${machine}
Medians of ${runs} runs${runs > 1 ? ' (least–greatest)' : ''}, contestants in turn on the same data, warm page cache; × is how many times ours a figure is.
Source and target share one disk and the processors, so both ends' work is in every figure.${options.quick ? '\n**A tenth of the data** (`--quick`).' : ''}

${markdown(record.figures, titles)}`
}

if (options.help) process.stdout.write(help)
else if (positionals.includes('clean')) rmSync(benchDirectory, { recursive: true, force: true })
else await measureAll()
