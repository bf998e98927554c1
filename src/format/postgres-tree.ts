import { z } from 'zod'
import { Malformed } from '../base/bytes.ts'
import { historyFileName, type Lsn, type Timeline, walSegmentName } from '../model/lsn.ts'
import { fromUtf8, type TreePath } from '../model/path.ts'

/**
 * The tree of a source of kind `postgres`; capture and recovery both go by it. Decided in docs/decisions/0008-postgres.md.
 *
 *   base/000001/data/…               the data directory of a base backup
 *   base/000001/tablespaces/16400/…  its tablespaces, by oid
 *   base/000001/backup_manifest      from version 13 on
 *   wal/000000010000000000000003     WAL segments; the newest is as long as what is known of it
 *   wal/00000002.history             timeline histories
 *   commits/…                        commit lists (commits.ts), named as the segments
 *   baselines                        a line of JSON for each complete baseline; only grows
 */
export const walFolder = path('wal')
export const commitsFolder = path('commits')
export const baselinesPath = path('baselines')

export const baselineFolder = (number: number): TreePath => path(`base/${String(number).padStart(6, '0')}`)
export const dataFolder = (number: number): TreePath => path(`${baselineFolder(number)}/data`)
export const tablespaceFolder = (number: number, oid: number): TreePath =>
  path(`${baselineFolder(number)}/tablespaces/${oid}`)
export const backupManifestPath = (number: number): TreePath => path(`${baselineFolder(number)}/backup_manifest`)

export const walPath = (on: Timeline, at: Lsn, segmentBytes: number): TreePath =>
  path(`wal/${walSegmentName(on, at, segmentBytes)}`)
export const historyPath = (of: Timeline): TreePath => path(`wal/${historyFileName(of)}`)

function path(text: string): TreePath {
  return fromUtf8(text) as TreePath
}

const lsnNumber = z.int().min(0)

/** A complete baseline. Sequences and LSNs are numbers; LSNs are those of BASE_BACKUP: consistent from `end` on. */
const baselineSchema = z.object({
  number: z.int().min(1),
  /** Of the change that wrote this line. */
  sequence: z.int().min(1),
  systemId: z.string().regex(/^\d{1,20}$/),
  timeline: z.int().min(1),
  start: lsnNumber,
  end: lsnNumber,
  /** `server_version_num`: 170010 is 17.10. */
  version: z.int(),
  segmentBytes: z.int(),
  files: z.int(),
  bytes: z.int(),
  tablespaces: z.array(z.object({ oid: z.int(), location: z.string() })),
  /** What decides whether another machine can run it: encoding, collation provider and versions, checksums, block size. */
  properties: z.record(z.string(), z.string()),
})
export type Baseline = Readonly<z.infer<typeof baselineSchema>>

export const encodeBaseline = (baseline: Baseline): Buffer => Buffer.from(`${JSON.stringify(baseline)}\n`, 'utf8')

/** All lines of `baselines`, in the order of their completion. */
export const decodeBaselines = (content: Uint8Array): Baseline[] =>
  Buffer.from(content)
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const read = baselineSchema.safeParse(parseJson(line))
      if (!read.success) throw new Malformed(`a line of baselines: ${line.slice(0, 80)}`)
      return read.data
    })

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
