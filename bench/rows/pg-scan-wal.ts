import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { WalScanner } from '../../src/format/wal/scanner.ts'
import { parseWalSegmentName } from '../../src/model/lsn.ts'

/** Scans whole WAL segments of one timeline, without gaps, as a capture does: 128 KiB at a time. Started by pg-scan.ts. */
export interface Scanned {
  readonly commits: number
  readonly bytes: number
}

const [folder = '', ...options] = process.argv.slice(2)
const files = readdirSync(folder)
  .filter((name) => /^[0-9A-F]{24}$/.test(name))
  .toSorted()
const first = files[0]
if (first === undefined) throw new Error(`no WAL segment in ${folder}`)
const segmentBytes = statSync(join(folder, first)).size
const { start } = parseWalSegmentName(first, segmentBytes)
const scanner = new WalScanner({ start, segmentBytes, checksums: options.includes('--checksums') })
const buffer = Buffer.allocUnsafe(131_072)
let commits = 0
for (const file of files) {
  const fd = openSync(join(folder, file), 'r')
  for (let count = readSync(fd, buffer); count > 0 && scanner.ended === undefined; count = readSync(fd, buffer)) {
    for (const { kind } of scanner.push(buffer.subarray(0, count), scanner.position)) {
      if (kind === 'commit' || kind === 'commit-prepared') commits++
    }
  }
  closeSync(fd)
}
const scanned: Scanned = { commits, bytes: scanner.ending().end - start }
console.log(JSON.stringify(scanned))
