import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { isChromiumInstalled } from './browser/built-page.ts'
import { benchDirectory, type Dataset, fullSize, makeDataset, quickSize } from './dataset.ts'
import { describeMachine, machineLines, watchersOfFileSystems } from './machine.ts'
import { isPostgresInstalled } from './postgres/programs.ts'
import { Record, table } from './record.ts'
import type { Row } from './row.ts'
import { consoleRow } from './rows/console.ts'
import { baseline } from './rows/baseline.ts'
import { ingest } from './rows/ingest.ts'
import { live } from './rows/live.ts'
import { measures } from './rows/measures.ts'
import { pgBase } from './rows/pg-base.ts'
import { pgCommit } from './rows/pg-commit.ts'
import { pgRestore } from './rows/pg-restore.ts'
import { pgScan } from './rows/pg-scan.ts'
import { pgStandby } from './rows/pg-standby.ts'
import { pgWal } from './rows/pg-wal.ts'
import { reconcile } from './rows/reconcile.ts'
import { restore } from './rows/restore.ts'
import { timeline } from './rows/timeline.ts'
import { view } from './rows/view.ts'
import { volumeIo } from './rows/volume-io.ts'
import { volumePgbench } from './rows/volume-pgbench.ts'
import { volumeView } from './rows/volume-view.ts'
import { canMount, isServingInstalled } from './volume/programs.ts'

const files = [baseline, reconcile, restore, live, ingest, view, measures]
const postgres = [pgWal, pgCommit, pgBase, pgRestore, pgStandby, pgScan]
const volumes = [
  volumeView,
  ...(isServingInstalled ? [volumeIo] : []),
  ...(isServingInstalled && canMount && isPostgresInstalled ? [volumePgbench] : []),
]
const browser = isChromiumInstalled ? [timeline, consoleRow] : []
const rows: readonly Row[] = [...files, ...(isPostgresInstalled ? postgres : []), ...volumes, ...browser]

const help = `npm run bench -- [row…] [options]     measures against peers that are installed; all rows unless some are named

Rows: ${rows.map(({ name }) => name).join(' ')}
      clean            delete the data that is kept between runs
Options:
  --quick              a tenth of the data; replaces no whole measurement in bench/results.md
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
  const size = options.quick ? quickSize : fullSize
  let made: Dataset | undefined
  for (const watcher of watchersOfFileSystems()) {
    tell(`${watcher} listens to changes of file systems (fanotify); figures may suffer from it`)
  }
  const record = new Record()
  for (const row of chosen) {
    tell(`${row.name}: ${row.title}`)
    await row.measure({
      record,
      // Not all rows need it.
      get dataset() {
        return (made ??= makeDataset(size, tell))
      },
      runs,
      isQuick: options.quick,
      profileDirectory: options['cpu-prof'],
      tell,
    })
  }
  const sections = new Map(chosen.map((row) => [row.name, describe(row, record, runs, machineLines(machine))]))
  process.stdout.write([...sections.values()].join('\n'))
  if (options.json !== undefined)
    writeFileSync(options.json, `${JSON.stringify({ machine, size, runs, figures: record.figures }, undefined, 2)}\n`)
  keep(sections)
}

function describe({ name, title }: Row, record: Record, runs: number, machine: string): string {
  const day = new Date().toISOString().slice(0, 10)
  const figures = record.figures.filter(({ row }) => row === name)
  return `## ${title}

${machine}
Measured ${day} by \`npm run bench -- ${name} --runs ${runs}\`.${options.quick ? quickNote : ''}

${table(figures)}`
}

/** Puts the sections of the rows that were measured in the place of their older ones in results.md. */
function keep(measured: ReadonlyMap<string, string>): void {
  const path = join(import.meta.dirname, 'results.md')
  const older = existsSync(path) ? readFileSync(path, 'utf8').split(/^(?=## )/m) : []
  const kept = rows.flatMap(({ name, title }) => {
    const before = older.find((one) => one.startsWith(`## ${title}\n`))?.trimEnd()
    const isWholeBefore = before !== undefined && !before.includes(quickNote)
    const section = options.quick && isWholeBefore ? before : (measured.get(name) ?? before)
    return section === undefined ? [] : [`${section.trimEnd()}\n`]
  })
  writeFileSync(path, [head, ...kept].join('\n'))
}

const quickNote = ' **A tenth of the data** (`--quick`).'

const head = `# Measured

Medians (least–greatest), contestants in turn on the same data, warm page cache; × is how many times ours a figure is.
Source and target share one disk and the processors, so both ends' work is in every figure. What is missed of what we aim
at, and where the time goes: [missed.md](missed.md).
`

if (options.help) process.stdout.write(help)
else if (positionals.includes('clean')) rmSync(benchDirectory, { recursive: true, force: true })
else await measureAll()
