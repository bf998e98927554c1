import { statSync } from 'node:fs'
import type { Id } from '../../src/model/source.ts'
import { Measures } from '../../src/vault-server/measures/measures.ts'
import { type LookedAt, Recorder } from '../../src/vault-server/measures/recorder.ts'
import { Chance } from '../dataset/chance.ts'
import { Place } from '../place.ts'
import { ours, percentile } from '../record.ts'
import type { Assignment, Row } from '../row.ts'

const row = 'measures'
const sourceCount = 1_000
const secondsPerDay = 86_400

export const measures: Row = { name: row, title: 'Recording the past of 1,000 busy sources', measure }

/** The seconds of a day, one after the other without the rest between: what is left is the work. */
async function measure({ record, runs, isQuick, tell }: Assignment): Promise<void> {
  const seconds = isQuick ? secondsPerDay / 12 : secondsPerDay
  for (let count = 0; count < runs; count++) {
    using place = new Place(row)
    const { looksMs, bytes } = recordSeconds(place.fresh('measures.sqlite'), seconds)
    const meanMs = looksMs.reduce((sum, ms) => sum + ms, 0) / looksMs.length
    const bytesPerDay = (bytes / seconds) * secondsPerDay
    tell(`${meanMs.toFixed(2)} ms a second, ${Math.round(bytesPerDay / 1e6)} MB a day`)
    record.add({ row, what: 'time of a second', unit: 'ms' }, ours, meanMs)
    record.add({ row, what: 'time of a second, p99.9', unit: 'ms' }, ours, percentile(looksMs, 0.999))
    record.add({ row, what: 'written a day', unit: 'MB' }, ours, bytesPerDay / 1e6)
  }
}

function recordSeconds(path: string, seconds: number): { readonly looksMs: number[]; readonly bytes: number } {
  const chance = new Chance(11)
  const sources = Array.from({ length: sourceCount }, (_, index): { -readonly [K in keyof LookedAt]: LookedAt[K] } => ({
    id: index.toString(16).padStart(32, '0') as Id,
    state: 'protected',
    lagMs: 0,
    isLate: false,
    changes: 0,
    bytes: 0,
  }))
  const known = new Set<string>(sources.map(({ id }) => id))
  let second = 0
  const clock = {
    now: () => 1_800_000_000_000_000 + second * 1_000_000,
    monotonicMs: () => second * 1_000,
    sleep: () => Promise.resolve(),
  }
  using kept = new Measures(path, (line) => {
    throw new Error(line)
  })
  const recorder = new Recorder({ clock, measures: kept, look: () => sources, known: () => known })
  const looksMs: number[] = []
  for (; second < seconds; second++) {
    for (const source of sources) {
      source.lagMs = 20 + chance.below(900)
      source.changes += chance.below(20)
      source.bytes += chance.below(100_000)
    }
    const beganMs = performance.now()
    recorder.look()
    looksMs.push(performance.now() - beganMs)
  }
  return { looksMs, bytes: statSync(path).size }
}
