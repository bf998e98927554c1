import type { TestEvent } from 'node:test/reporters'
import { inspect } from 'node:util'
import type { Outcome } from './report.ts'

/** One line of JSON each, so that what a file had told before it was killed is known. */
export type Line =
  | { readonly kind: 'begun' | 'ended'; readonly name: string; readonly line: number | undefined }
  | { readonly kind: 'outcome'; readonly outcome: Outcome }
  | { readonly kind: 'diagnostic'; readonly message: string }
  | { readonly kind: 'finished' }

/**
 * A reporter for node:test: tells what became of each test that has no tests within it.
 * Begun and ended come as they happen, everything else in the order of the file.
 */
export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const place: Place = { names: [], depthBefore: 0 }
  for await (const event of events) {
    for (const line of linesOf(event, place)) yield `${JSON.stringify(line)}\n`
  }
}

interface Place {
  /** Of the test that was started last and of the ones around it, outermost first. */
  readonly names: string[]
  /** How deep within others the test was that ended last. */
  depthBefore: number
}

function linesOf(event: TestEvent, place: Place): Line[] {
  switch (event.type) {
    case 'test:dequeue':
      return [{ kind: 'begun', name: event.data.name, line: event.data.line }]
    case 'test:complete':
      return [{ kind: 'ended', name: event.data.name, line: event.data.line }]
    case 'test:start':
      place.names.splice(event.data.nesting, Infinity, event.data.name)
      return []
    case 'test:pass':
    case 'test:fail':
      return outcomeLines(event, place)
    case 'test:diagnostic':
      return isCount.test(event.data.message) ? [] : [{ kind: 'diagnostic', message: event.data.message }]
    case 'test:summary':
      return event.data.file === undefined ? [] : [{ kind: 'finished' }]
    default:
      return []
  }
}

function outcomeLines(event: Extract<TestEvent, { type: 'test:pass' | 'test:fail' }>, place: Place): Line[] {
  const { nesting, details, skip, todo } = event.data
  const hasTestsWithin = place.depthBefore > nesting
  place.depthBefore = nesting
  const name = place.names.slice(0, nesting + 1).join(' > ')
  const told = { name, durationMs: details.duration_ms }
  if (skip !== undefined && skip !== false)
    return [outcome({ ...told, status: 'skipped', why: reason(skip, 'skipped') })]
  if (todo !== undefined && todo !== false) return [outcome({ ...told, status: 'skipped', why: reason(todo, 'to do') })]
  if (event.type === 'test:pass') {
    return hasTestsWithin || details.type === 'suite' ? [] : [outcome({ ...told, status: 'passed', why: '' })]
  }
  const error = event.data.details.error
  if ('failureType' in error && error.failureType === 'subtestsFailed') return []
  return [outcome({ ...told, status: 'failed', why: explain(error) })]
}

/** The counts of the file, which node:test tells as diagnostics too. */
const isCount = /^(?:tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/

const outcome = (told: Outcome): Line => ({ kind: 'outcome', outcome: told })

const reason = (given: string | true, otherwise: string): string => (given === true ? otherwise : given)

/** What the test threw, in full, without the frames of the test runner. */
function explain(error: Error): string {
  const thrown = error.cause ?? error
  const text = typeof thrown === 'string' ? thrown : inspect(thrown, { depth: 6, maxStringLength: 10_000 })
  return text
    .split('\n')
    .filter((line) => !/^\s+at .*\(?node:internal\//.test(line))
    .join('\n')
}
