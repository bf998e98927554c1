import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isSystemError } from '../../src/base/errors.ts'
import type { Outcome, Report } from './report.ts'
import type { Line } from './reporter.ts'
import { type Ended, runNode } from './spawn.ts'

const limitMs = 1_200_000
const reporter = join(import.meta.dirname, 'reporter.ts')

/**
 * Runs one test file in a process of its own, which tells how its tests went through a file in `scratch`.
 * Whatever keeps it from telling is a failure.
 */
export async function runTestFile(root: string, file: string, scratch: string): Promise<Report> {
  const told = join(scratch, file.replaceAll('/', '-'))
  const reporting = [`--test-reporter=${reporter}`, `--test-reporter-destination=${told}`]
  const ended = await runNode([...reporting, file], { cwd: root, limitMs })
  const lines = await linesIn(told)
  const outcomes = lines.flatMap((line) => (line.kind === 'outcome' ? [line.outcome] : []))
  const why = whyUnfinished(ended, lines, outcomes)
  if (why !== undefined)
    outcomes.push({ name: '(the whole file)', status: 'failed', durationMs: ended.durationMs, why })
  return { title: file, durationMs: ended.durationMs, outcomes, output: ended.output }
}

async function linesIn(file: string): Promise<Line[]> {
  try {
    const text = await readFile(file, 'utf8')
    return text.split('\n').filter(Boolean).map(parseLine)
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return []
    throw error
  }
}

const parseLine = (text: string): Line => JSON.parse(text) as Line

function whyUnfinished(ended: Ended, lines: readonly Line[], outcomes: readonly Outcome[]): string | undefined {
  if (ended.timedOut) return `did not end within ${limitMs / 60_000} minutes; ${stillRunning(lines)}`
  if (ended.signal !== undefined) return `was ended by ${ended.signal}`
  if (!lines.some((line) => line.kind === 'finished')) {
    if (lines.length > 0) return `ended with status ${ended.status} before its tests did; ${stillRunning(lines)}`
    return ended.status === 0
      ? 'holds no test, or ended before any'
      : `ended with status ${ended.status} before any test`
  }
  if (ended.leftBehind.length > 0) return `left processes running: ${ended.leftBehind.join(', ')}`
  if (ended.status === 0 || outcomes.some(({ status }) => status === 'failed')) return undefined
  const diagnostics = lines.flatMap((line) => (line.kind === 'diagnostic' ? [line.message] : []))
  return [`ended with status ${ended.status} although no test failed`, ...diagnostics].join('\n')
}

function stillRunning(lines: readonly Line[]): string {
  const open = new Map<string, number>()
  for (const line of lines) {
    if (line.kind !== 'begun' && line.kind !== 'ended') continue
    const key = `"${line.name}" (line ${line.line})`
    open.set(key, (open.get(key) ?? 0) + (line.kind === 'begun' ? 1 : -1))
  }
  const names = [...open].filter(([, count]) => count > 0).map(([name]) => name)
  return names.length > 0
    ? `still running: ${names.join(', ')}`
    : 'every test it began had ended: something is still open'
}
