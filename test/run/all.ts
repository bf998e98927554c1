import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { checks } from './checks.ts'
import { findTestFiles } from './find.ts'
import { printReport, printSlowest, printTotals } from './print.ts'
import type { Report } from './report.ts'
import { killRunning } from './spawn.ts'
import { runTestFile } from './test-file.ts'

/**
 * npm test              the type checker, the linter, the format, then every test file
 * npm test -- PATTERN   only the test files whose path contains PATTERN
 *
 * The last line counts; the exit status is 0 if something passed and nothing failed.
 */
const atOnce = 2

const root = dirname(dirname(import.meta.dirname))
const pattern = process.argv[2]
const scratch = mkdtempSync(join(tmpdir(), 'tidemark-test-run-'))
process.on('exit', () => rmSync(scratch, { recursive: true }))

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.on(signal, () => {
    killRunning()
    console.log(`stopped by ${signal} before the end`)
    process.exit(status)
  })
}

const files = findTestFiles(root).filter((file) => pattern === undefined || file.includes(pattern))
const work: (() => Promise<Report>)[] = files.map((file) => () => runTestFile(root, file, scratch))
if (pattern === undefined) work.unshift(...checks.map((check) => () => check(root)))
if (work.length === 0) console.log(`no test file has "${pattern}" in its path`)

const reports: Report[] = []
await Promise.all(Array.from({ length: atOnce }, workOff))

printSlowest(reports)
process.exitCode = printTotals(reports) ? 0 : 1

async function workOff(): Promise<void> {
  for (let next = work.shift(); next !== undefined; next = work.shift()) {
    const report = await next()
    printReport(report)
    reports.push(report)
  }
}
