import type { Report } from './report.ts'
import { runNode } from './spawn.ts'

const limitMs = 300_000

/** The machine's part of a review; each counts as one test. */
export const checks: readonly ((root: string) => Promise<Report>)[] = [
  check('types hold', ['node_modules/typescript/bin/tsc', '-p', '.']),
  check('types of the browser part hold', ['node_modules/typescript/bin/tsc', '-p', 'web']),
  check('the linter finds nothing', ['node_modules/oxlint/bin/oxlint']),
  check('the format is that of "npm run format"', ['node_modules/oxfmt/bin/oxfmt', '--check']),
]

function check(title: string, args: readonly string[]): (root: string) => Promise<Report> {
  return async (root) => {
    const { status, timedOut, output, durationMs } = await runNode(args, { cwd: root, limitMs })
    const why = timedOut ? `did not end within ${limitMs / 1000} s\n${output}` : output
    const outcome = {
      name: title,
      durationMs,
      ...(status === 0 ? ({ status: 'passed', why: '' } as const) : ({ status: 'failed', why } as const)),
    }
    return { title, durationMs, outcomes: [outcome], output: '' }
  }
}
