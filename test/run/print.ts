import { count, type Outcome, type Report } from './report.ts'

const slowestShown = 10
const outputLinesShown = 200

/** A line for the file, and everything about each failure. */
export function printReport(report: Report): void {
  const failures = report.outcomes.filter(({ status }) => status === 'failed')
  const told = [`${count([report], 'passed')} passed`]
  if (failures.length > 0) told.push(`${failures.length} failed`)
  const reasons = new Set(report.outcomes.filter(({ status }) => status === 'skipped').map(({ why }) => why))
  if (reasons.size > 0) told.push(`${count([report], 'skipped')} skipped: ${[...reasons].join('; ')}`)
  const mark = failures.length > 0 ? 'FAILED' : 'ok    '
  console.log(`${mark} ${seconds(report.durationMs)}  ${report.title}  (${told.join(', ')})`)

  for (const { name, why } of failures) console.log(`\n  ${name}\n${indented(why)}\n`)
  if (failures.length > 0 && report.output.trim() !== '') {
    console.log(`  what it wrote, at the end:\n${indented(lastLines(report.output))}\n`)
  }
}

export function printSlowest(reports: readonly Report[]): void {
  const all: [Report, Outcome][] = reports.flatMap((report) =>
    report.outcomes.map((outcome) => [report, outcome] as [Report, Outcome]),
  )
  const slowest = all.toSorted(([, one], [, other]) => other.durationMs - one.durationMs).slice(0, slowestShown)
  console.log('\nthe slowest tests')
  for (const [{ title }, { name, durationMs }] of slowest) {
    console.log(`${seconds(durationMs)}  ${name === title ? name : `${title}: ${name}`}`)
  }
}

/** Repeats what failed by name and counts, on the very last line; true if something passed and nothing failed. */
export function printTotals(reports: readonly Report[]): boolean {
  const [passed, failed, skipped] = [count(reports, 'passed'), count(reports, 'failed'), count(reports, 'skipped')]
  if (failed > 0) console.log('\nwhat failed')
  for (const { title, outcomes } of reports) {
    for (const { name, status } of outcomes) {
      if (status === 'failed') console.log(name === title ? name : `${title}: ${name}`)
    }
  }
  console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  return passed > 0 && failed === 0
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1).padStart(6)} s`

const indented = (text: string): string => text.trimEnd().replaceAll(/^(?=.)/gm, '    ')

function lastLines(text: string): string {
  return text.trimEnd().split('\n').slice(-outputLinesShown).join('\n')
}
