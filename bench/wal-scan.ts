import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, globSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { parseWalSegmentName } from '../src/model/lsn.ts'
import { WalScanner } from '../src/format/wal/scanner.ts'

/**
 * How fast WAL is scanned for commits, against pg_waldump: node bench/wal-scan.ts --wal FOLDER [--pg-waldump PROGRAM] [--runs 3]
 *
 * FOLDER holds WAL segments of one timeline, without gaps, of the version that pg_waldump is for. Every contestant is a process
 * of its own that reads the files and throws away what it finds, in turn; of its runs the one with the least CPU time counts.
 */
const { values: options } = parseArgs({
  options: {
    'wal': { type: 'string' },
    'pg-waldump': { type: 'string' },
    'runs': { type: 'string', default: '3' },
    'scan': { type: 'boolean', default: false },
    'checksums': { type: 'boolean', default: false },
  },
})
const folder = options.wal
if (folder === undefined) throw new Error('--wal FOLDER is missing')
const files = readdirSync(folder)
  .filter((name) => /^[0-9A-F]{24}$/.test(name))
  .sort()
const first = files[0]
if (first === undefined) throw new Error(`no WAL segment in ${folder}`)
const segmentBytes = statSync(join(folder, first)).size
const start = parseWalSegmentName(first, segmentBytes)

if (options.scan) scan()
else compare()

/** The contestant: the live path of a capture, 128 KiB at a time. */
function scan(): void {
  const scanner = new WalScanner({ start: start.start, segmentBytes, checksums: options.checksums })
  let commits = 0
  const buffer = Buffer.allocUnsafe(131_072)
  for (const file of files) {
    const fd = openSync(join(folder as string, file), 'r')
    for (let count = readSync(fd, buffer); count > 0 && scanner.ended === undefined; count = readSync(fd, buffer)) {
      for (const { kind } of scanner.push(buffer.subarray(0, count), scanner.position)) {
        if (kind === 'commit' || kind === 'commit-prepared') commits++
      }
    }
    closeSync(fd)
  }
  console.log(JSON.stringify({ commits, end: scanner.ending().end - start.start }))
}

function compare(): void {
  const { commits, end } = JSON.parse(run(process.execPath, ours()).stdout) as { commits: number; end: number }
  const waldump = options['pg-waldump'] ?? globSync('/usr/lib/postgresql/*/bin/pg_waldump').at(-1)
  const range = [first as string, files.at(-1) as string].map((file) => join(folder as string, file))
  const contestants: { name: string; program: string; args: string[] }[] = [
    { name: 'Tidemark', program: process.execPath, args: ours() },
    { name: 'Tidemark with checksums', program: process.execPath, args: [...ours(), '--checksums'] },
  ]
  if (waldump !== undefined && existsSync(waldump)) {
    contestants.push(
      { name: 'pg_waldump', program: waldump, args: range },
      { name: 'pg_waldump -r Transaction', program: waldump, args: ['-r', 'Transaction', ...range] },
    )
  }
  const best = new Map<string, number>()
  for (let round = 0; round < Number(options.runs); round++) {
    for (let index = 0; index < contestants.length; index++) {
      const { name, program, args } = contestants[(index + round) % contestants.length] as (typeof contestants)[number]
      best.set(name, Math.min(best.get(name) ?? Infinity, run(program, args).cpuSeconds))
    }
  }
  const megabytes = end / 1e6
  const cells = contestants.map(({ name }) => `${name} ${(megabytes / (best.get(name) as number)).toFixed(0)}`)
  console.log(`| WAL scan, ${megabytes.toFixed(0)} MB, ${commits} commits, MB per CPU second | ${cells.join(' | ')} |`)
}

function ours(): string[] {
  return [import.meta.filename, '--scan', '--wal', folder as string]
}

/** What it took is known once it was waited for. pg_waldump ends with an error where the WAL does, as the last segment mostly is not full. */
function run(program: string, args: string[]): { stdout: string; cpuSeconds: number } {
  const before = childCpuSeconds()
  const isOurs = program === process.execPath
  const { stdout, error, status, stderr } = spawnSync(program, args, {
    stdio: ['ignore', isOurs ? 'pipe' : 'ignore', 'pipe'],
    encoding: 'utf8',
  })
  if (error) throw error
  if (isOurs && status !== 0) throw new Error(stderr)
  return { stdout, cpuSeconds: childCpuSeconds() - before }
}

/** Of all children that have ended, user and system; the kernel counts hundredths. */
function childCpuSeconds(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[13]) + Number(fields[14])) / 100
}
