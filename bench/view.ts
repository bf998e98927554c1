import { createSecretKey, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { batchChangesMax, type Stamped } from '../src/model/batch.ts'
import type { Change, ChunkId } from '../src/model/change.ts'
import { moment } from '../src/model/moment.ts'
import type { TreePath } from '../src/model/path.ts'
import { type Sequence, sequence } from '../src/model/sequence.ts'
import type { StoredBatch } from '../src/vault/reader.ts'
import { IndexReader } from '../src/vault/index/index-reader.ts'
import { IndexWriter } from '../src/vault/index/index-writer.ts'
import { openToRead } from '../src/vault/index/schema.ts'
import { Sealing } from '../src/vault/index/sealing.ts'
import { diffViews } from '../src/vault/views/diff.ts'
import type { ContentReader } from '../src/vault/views/content-reader.ts'
import { View } from '../src/vault/views/view.ts'
import { Chance } from './dataset/chance.ts'
import { largeFile, largeFileBytes, MadeChanges } from './dataset/changes.ts'

/** Measures the index of a synthetic journal: node bench/view.ts --changes 1000000 --files 200000 */
const { values: options } = parseArgs({
  options: {
    changes: { type: 'string', default: '1000000' },
    files: { type: 'string', default: '200000' },
    samples: { type: 'string', default: '2000' },
  },
})
const changesMax = Number(options.changes)
const files = Number(options.files)
const samples = Number(options.samples)
const indexKey = createSecretKey(randomBytes(32))
const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-view-'))
const location = join(folder, 'index.sqlite')

const chance = new Chance(1)
const below = (end: number): number => chance.below(end)
const made = new MadeChanges(files, chance, () => ({
  bytes: 4000 + below(60_000),
  chunk: randomBytes(32).toString('latin1') as ChunkId,
}))

let last = 0
/** Last change of the baseline. */
let baselined = 0
let when = 1_700_000_000_000_000
function* batches(changes: Iterable<Change>, countMax: number): Generator<Stamped[]> {
  let stamped: Stamped[] = []
  for (const change of changes) {
    stamped.push({ moment: moment((when += 1000)), change })
    if (stamped.length < countMax) continue
    yield stamped
    stamped = []
  }
  if (stamped.length > 0) yield stamped
}

interface Work {
  readonly count: number
  readonly seconds: number
  readonly cpuSeconds: number
}

const changesPerCommit = 30_000

/** Time spent in the index alone, committed as often as an indexer that is behind does. */
function apply(index: IndexWriter, changes: Iterable<Change>, perBatch: number): Work {
  const spent = { ms: 0, cpuUs: 0 }
  let waiting: StoredBatch[] = []
  let count = 0
  const applyWaiting = (): void => {
    const began = performance.now()
    const before = process.cpuUsage()
    for (const stored of waiting) index.apply(stored)
    index.commit()
    const { user, system } = process.cpuUsage(before)
    spent.cpuUs += user + system
    spent.ms += performance.now() - began
    waiting = []
  }
  for (const stamped of batches(changes, perBatch)) {
    const first = sequence(last + 1)
    last += stamped.length
    count += stamped.length
    waiting.push({
      batch: { first, settled: true, cursor: Buffer.alloc(0), changes: stamped },
      received: moment(when),
    })
    if (waiting.length * perBatch >= changesPerCommit) applyWaiting()
  }
  applyWaiting()
  return { count, seconds: spent.ms / 1000, cpuSeconds: spent.cpuUs / 1e6 }
}

const tell = (what: string, figure: string): void => console.log(`${what.padEnd(46)} ${figure}`)
const rate = ({ count, seconds, cpuSeconds }: Work): string =>
  `${Math.round(count / cpuSeconds)} per second of CPU (${count} in ${cpuSeconds.toFixed(2)} s, ${seconds.toFixed(2)} s elapsed)`

function latencies(what: string, once: () => void): void {
  const all = Array.from({ length: samples }, () => {
    const began = performance.now()
    once()
    return (performance.now() - began) * 1000
  }).sort((a, b) => a - b)
  const at = (share: number): string => `${Math.round(all[Math.floor(share * (all.length - 1))]!)} µs`
  tell(what, `p50 ${at(0.5)}, p99 ${at(0.99)}, most ${at(1)}`)
}

try {
  {
    using index = new IndexWriter(location, indexKey)
    tell('changes applied, baseline', rate(apply(index, made.baseline(), batchChangesMax)))
    index.database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    const baselineBytes = statSync(location).size
    tell('index bytes per file', String(Math.round(baselineBytes / files)))
    baselined = last
    const count = Math.max(0, changesMax - last)
    tell('changes applied, live, batches of 50', rate(apply(index, made.live(count), 50)))
    index.database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    tell(
      'index bytes per live change',
      String(Math.round((statSync(location).size - baselineBytes) / Math.max(count, 1))),
    )
    tell('index bytes', String(statSync(location).size))
  }
  const began = performance.now()
  const sealing = new Sealing(indexKey)
  const database = openToRead(location, sealing)!
  const rows = new IndexReader(database, sealing)
  // Contents are not read here.
  const content = undefined as unknown as ContentReader
  const view = (at = 1 + below(last)): View => new View({ rows, content, at: at as Sequence })
  const half = view(Math.floor(last / 2))
  half.lookup(made.pathOf(below(files)))
  tell('index opened, first path found', `${(performance.now() - began).toFixed(1)} ms`)
  latencies('stat of any path at any point', () => {
    const one = view(baselined + below(last - baselined))
    const found = one.lookup(made.pathOf(below(files)))
    if (found) one.entry(found)
  })
  latencies(`list of ${made.folderEntries} entries at any point`, () => {
    for (const _page of view(baselined + below(last - baselined)).list(made.folderOf(below(files)))) void _page
  })
  latencies('1 MiB range of the large file, extents', () => {
    const one = view(baselined + below(last - baselined))
    const version = one.version(one.find(largeFile).node)!
    const start = below(largeFileBytes - 1024 * 1024)
    for (const _piece of one.pieces(version, start, start + 1024 * 1024)) void _piece
  })
  const diffBegan = performance.now()
  const changed = [
    ...diffViews({ from: view(last - Math.min(1000, last - 1)), to: view(last) }, '' as TreePath),
  ].filter((row) => row !== undefined).length
  tell('diff over the last 1000 changes', `${(performance.now() - diffBegan).toFixed(0)} ms, ${changed} paths`)
  const walkBegan = performance.now()
  const walkBefore = process.cpuUsage()
  let walked = 0
  for (const found of half.walk(half.find('' as TreePath))) {
    half.version(found.node)
    walked++
  }
  tell(
    'walk of the whole tree',
    rate({
      count: walked,
      seconds: (performance.now() - walkBegan) / 1000,
      cpuSeconds: process.cpuUsage(walkBefore).user / 1e6,
    }),
  )
  tell('resident memory', `${Math.round(process.memoryUsage.rss() / 1024 / 1024)} MiB`)
  database.close()
} finally {
  rmSync(folder, { recursive: true })
}
