/** What became of one test. */
export interface Outcome {
  /** The names of the test and of those around it, outermost first. */
  readonly name: string
  readonly status: 'passed' | 'failed' | 'skipped'
  readonly durationMs: number
  /** Why it failed, with the stack, or why it was skipped. */
  readonly why: string
}

/** What became of one test file, or of one check of the whole project. */
export interface Report {
  readonly title: string
  readonly durationMs: number
  readonly outcomes: readonly Outcome[]
  /** What it wrote, shown when something failed. */
  readonly output: string
}

export const count = (reports: readonly Report[], status: Outcome['status']): number =>
  reports.reduce((sum, report) => sum + report.outcomes.filter((outcome) => outcome.status === status).length, 0)
