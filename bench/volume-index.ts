import { createSecretKey, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { diskPath } from '../src/format/volume-tree.ts'
import type { Stamped } from '../src/model/batch.ts'
import type { Change } from '../src/model/change.ts'
import { moment } from '../src/model/moment.ts'
import { type Sequence, sequence } from '../src/model/sequence.ts'
import { IndexReader } from '../src/vault/index/index-reader.ts'
import { IndexWriter } from '../src/vault/index/index-writer.ts'
import { openToRead } from '../src/vault/index/schema.ts'
import { Sealing } from '../src/vault/index/sealing.ts'
import type { ContentReader } from '../src/vault/views/content-reader.ts'
import { dataExtents } from '../src/vault/views/stretches.ts'
import { View } from '../src/vault/views/view.ts'
import { Chance } from './dataset/chance.ts'
import { type Measure, percentile, short } from './record.ts'

export interface VolumeFigure extends Omit<Measure, 'row'> {
  readonly value: number
}

/**
 * Measures the index of a volume's journal, 4 KiB writes at random places: node bench/volume-index.ts --writes 2000000
 * Run by the row `volume-view` in a process of its own, so that its memory is its own.
 */
const { values: options } = parseArgs({
  options: {
    writes: { type: 'string', default: '2000000' },
    gib: { type: 'string', default: '100' },
    /** Of each hundred writes so many go to a hot twentieth of the volume. */
    hot: { type: 'string', default: '50' },
    /** And so many to one and the same block, as those of a file system's journal or superblock. */
    hottest: { type: 'string', default: '2' },
    samples: { type: 'string', default: '500' },
    commit: { type: 'string', default: '65536' },
    /** Answers with the figures as JSON. */
    json: { type: 'boolean', default: false },
  },
})
const writes = Number(options.writes)
const volumeBytes = Number(options.gib) * 1024 ** 3
const samples = Number(options.samples)
const changesPerCommit = Number(options.commit)
const perBatch = 200
const blockBytes = 4096
const blocks = volumeBytes / blockBytes
const hotBlocks = Math.floor(blocks / 20)
const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-volume-index-'))
const location = join(folder, 'index.sqlite')
const indexKey = createSecretKey(randomBytes(32))
const chance = new Chance(1)
const data = Buffer.alloc(blockBytes, 7)

const figures: VolumeFigure[] = []
function tell(what: string, unit: VolumeFigure['unit'], value: number): void {
  figures.push({ what, unit, value })
  if (!options.json) console.log(`${what.padEnd(70)} ${short(value)} ${unit}`)
}

function blockAtRandom(): number {
  const kind = chance.below(100)
  if (kind < Number(options.hottest)) return 12_345
  return kind < Number(options.hot) ? chance.below(hotBlocks) : chance.below(blocks)
}

let last = 0
function batch(changes: readonly Change[]): { first: Sequence; changes: Stamped[] } {
  const first = sequence(last + 1)
  last += changes.length
  return { first, changes: changes.map((change, at) => ({ moment: moment(1.7e15 + (first + at) * 100), change })) }
}

function latencies(what: string, once: () => void): void {
  const all = Array.from({ length: samples }, () => {
    const began = performance.now()
    once()
    return (performance.now() - began) * 1000
  })
  for (const share of [0.5, 0.99]) tell(`${what}, p${share * 100}`, 'µs', percentile(all, share))
}

try {
  {
    using index = new IndexWriter(location, indexKey)
    const apply = (changes: readonly Change[]): void =>
      index.apply({ batch: { ...batch(changes), settled: true, cursor: Buffer.alloc(0) }, received: moment(1.7e15) })
    apply([
      {
        kind: 'put',
        path: diskPath,
        attributes: { mode: 0o600, uid: 0, gid: 0, modifiedNs: 0n, xattrs: [] },
        content: { type: 'file', bytes: volumeBytes, extents: [] },
      },
    ])
    index.commit()
    let usedUs = 0
    let uncommitted = 0
    const steps = 5
    for (let step = 0; step < steps; step++) {
      const count = Math.floor(writes / steps)
      const before = usedUs
      for (let done = 0; done < count; done += perBatch) {
        const changes = Array.from({ length: perBatch }, (): Change => ({
          kind: 'write',
          path: diskPath,
          at: blockAtRandom() * blockBytes,
          data,
        }))
        const began = process.cpuUsage()
        apply(changes)
        uncommitted += perBatch
        if (uncommitted >= changesPerCommit) {
          index.commit()
          uncommitted = 0
        }
        const { user, system } = process.cpuUsage(began)
        usedUs += user + system
      }
      if (step === 0 || step === steps - 1)
        tell(
          `applied in a second of CPU, fifth ${step + 1} of the writes`,
          'changes/s',
          count / ((usedUs - before) / 1e6),
        )
    }
    index.commit()
    index.database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    tell('applied in a second of CPU, all', 'changes/s', writes / (usedUs / 1e6))
    tell('index for each write', 'bytes', statSync(location).size / writes)
  }
  const sealing = new Sealing(indexKey)
  const began = performance.now()
  const database = openToRead(location, sealing)
  if (database === undefined) throw new Error('there is no index')
  const rows = new IndexReader(database, sealing)
  // Contents are not read here.
  const content = undefined as unknown as ContentReader
  const view = (at = 1 + chance.below(last)): View => new View({ rows, content, at: at as Sequence })
  dataExtents(view(), diskPath, { at: 0, bytes: 1024 * 1024 })
  tell('opened, and where its first MiB stands', 'ms', performance.now() - began)
  const range = (bytes: number) => ({ at: chance.below((volumeBytes - bytes) / blockBytes) * blockBytes, bytes })
  for (const kib of [4, 64, 1024]) {
    latencies(
      `where ${kib} KiB stand, anywhere at any point`,
      () => void dataExtents(view(), diskPath, range(kib * 1024)),
    )
  }
  const one = view()
  latencies('where 4 KiB stand, anywhere at one point', () => void dataExtents(one, diskPath, range(4096)))
  latencies(
    'where 64 KiB around the hottest block stand',
    () => void dataExtents(view(), diskPath, { at: 12_340 * blockBytes, bytes: 64 * 1024 }),
  )
  latencies(
    'where 4 KiB behind the hottest block stand',
    () => void dataExtents(view(), diskPath, { at: 12_346 * blockBytes, bytes: 4096 }),
  )
  const node = one.find(diskPath).node
  latencies('the version of the disk at any point', () => void rows.version(node, 1 + chance.below(last)))
  database.close()
  if (options.json) process.stdout.write(JSON.stringify(figures))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
