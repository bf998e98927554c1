import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { AgentMetrics } from '../src/agent/metrics.ts'
import { systemClock } from '../src/base/clock.ts'
import { ConsoleMetrics } from '../src/console/metrics.ts'
import type { Exposition } from '../src/monitoring/exposition.ts'
import { VaultMetrics } from '../src/vault-server/metrics.ts'

/** What the documents say about metrics is held to the metrics that there are. */
const operate = join(import.meta.dirname, '../docs/operate')
const dashboard = readFileSync(join(operate, 'grafana/tidemark.json'), 'utf8')
const page = readFileSync(join(operate, 'monitoring.md'), 'utf8')

const processes = [new VaultMetrics(systemClock), new AgentMetrics(systemClock), new ConsoleMetrics(systemClock)]
const expositions: readonly Exposition[] = processes.map(({ exposition }) => exposition)

interface Described {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly labelNames: readonly string[]
}
const metrics = expositions.flatMap(
  ({ registry }) => registry.getMetricsAsArray() as unknown as (Described & { labelNames: string[] })[],
)

/** With what Prometheus makes of a histogram. */
const series = new Map<string, readonly string[]>(
  metrics.flatMap((metric): [string, readonly string[]][] => {
    const labels = [...metric.labelNames, 'instance', 'job']
    const isHistogram = metric.constructor.name === 'Histogram'
    const [bucket, count, sum] = ['bucket', 'count', 'sum'].map((end) => `${metric.name}_${end}`) as [
      string,
      string,
      string,
    ]
    return isHistogram
      ? [
          [bucket, [...labels, 'le']],
          [count, labels],
          [sum, labels],
        ]
      : [[metric.name, labels]]
  }),
)

const named = (text: string): string[] =>
  [...text.matchAll(/\btidemark_(?:vault|agent|console)_\w+/g)].map(([name]) => name)

interface Panel {
  readonly title: string
  readonly type: string
  readonly targets?: readonly { readonly expr: string }[]
}
const { panels } = JSON.parse(dashboard) as { panels: readonly Panel[] }

test('every panel of the dashboard asks for metrics that there are, by labels that they have', () => {
  const shown = panels.filter(({ type }) => type !== 'row')
  assert.ok(shown.length >= 20)
  for (const { title, targets = [] } of shown) {
    assert.ok(targets.length > 0, title)
    for (const { expr } of targets) {
      for (const name of named(expr)) assert.ok(series.has(name), `${title}: there is no ${name}`)
      for (const [, name, labels] of expr.matchAll(/\b(tidemark_\w+)\{([^}]*)\}/g)) {
        for (const [, label] of (labels as string).matchAll(/(\w+)\s*=/g))
          assert.ok(series.get(name as string)?.includes(label as string), `${title}: ${name} has no label ${label}`)
      }
    }
  }
})

test('the alert rules and the page name only metrics that there are, and each rule says what to do next', () => {
  for (const name of named(page)) assert.ok(series.has(name), `monitoring.md: there is no ${name}`)
  const rules = page.split('- alert: ').slice(1)
  assert.ok(rules.length >= 10)
  for (const rule of rules)
    assert.match(rule, /\n {8}annotations:\n {10}summary: '.+'\n {10}next: '.+'/, rule.slice(0, 40))
})

test('a metric says what it is, and its name ends in its unit', () => {
  const unit = /_(?:seconds|bytes|changes|sequence|total|info|state)$/
  /** Numbers of things, and 1 for yes. */
  const countless =
    /_(?:stalled|connected|full|good|damages|dirty|releases|problems|sessions|views|points|pages|alarms|sources)$/
  for (const { name, help } of metrics) {
    assert.match(name, /^tidemark_(?:vault|agent|console)_[a-z_]+$/)
    assert.ok(unit.test(name) || countless.test(name), `${name} ends in a unit`)
    assert.ok(help.length > 10 && !help.endsWith('.'), `${name}: ${help}`)
  }
})

test('labels are names of what there is, or of few kinds', () => {
  const known = ['source', 'agent', 'vault', 'state', 'kind', 'system', 'version', 'file', 'severity', 'status']
  for (const { name, labelNames } of metrics)
    for (const label of labelNames) assert.ok(known.includes(label), `${name} has a label ${label}`)
})
