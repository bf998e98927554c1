import { createHash } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ChunkSizes, Chunker } from './chunker.ts'
import { randomBytes } from './deterministic-bytes.ts'
import { Fingerprinter } from './fingerprint.ts'
import { ScanMemory } from './scan-memory.ts'

// The figures of docs/decisions/0005-chunking.md: node src/base/chunker/chunker.bench.ts
// Random data in a file in the page cache; median and best of the rounds, decimal megabytes.

const fileBytes = 256 * 1024 * 1024
const rounds = 9
const seed = 0x746964656d61726bn

const folder = mkdtempSync(join(tmpdir(), 'tidemark-chunker-'))
const path = join(folder, 'data')
writeFileSync(path, randomBytes(1n, fileBytes))
const fd = openSync(path, 'r')
try {
  for (const [name, sizes] of [
    ['64 KiB', { min: 16 * 1024, average: 64 * 1024, max: 256 * 1024 }],
    ['1 MiB', { min: 256 * 1024, average: 1024 * 1024, max: 4 * 1024 * 1024 }],
  ] as const) {
    cutting(name, sizes)
    reading(name, sizes)
  }
  for (const kibibytes of [64, 256, 1024]) fingerprinting(kibibytes * 1024)
} finally {
  closeSync(fd)
  rmSync(folder, { recursive: true })
}

function cutting(name: string, sizes: ChunkSizes): void {
  const memory = new ScanMemory(32 * 1024 * 1024)
  const chunker = new Chunker(sizes, memory)
  readSync(fd, chunker.memory, { position: 0 })
  const { length } = chunker.memory
  let chunks = 0
  measure(`cut points only, average ${name}`, length, () => {
    chunks = 0
    for (let at = 0; at < length; at = chunker.cut(at, length, true)) chunks++
  })
  say(`  ${chunks} chunks, mean ${(length / chunks / sizes.average).toFixed(2)} of the average`)
}

function reading(name: string, sizes: ChunkSizes): void {
  const chunker = new Chunker(sizes)
  measure(`read and cut, average ${name}`, fileBytes, () => {
    for (const chunk of fileChunks(chunker)) void chunk
  })
  measure(`read, cut and SHA-256, average ${name}`, fileBytes, () => {
    for (const chunk of fileChunks(chunker)) createHash('sha256').update(chunk).digest()
  })
}

function fileChunks(chunker: Chunker): Generator<Uint8Array> {
  let position = 0
  return chunker.chunks((into) => {
    const bytes = readSync(fd, into, { position })
    position += bytes
    return bytes
  })
}

function fingerprinting(blockBytes: number): void {
  const name = `${blockBytes / 1024} KiB blocks`
  const large = new Fingerprinter(seed, new ScanMemory(32 * 1024 * 1024))
  readSync(fd, large.memory, { position: 0 })
  measure(`fingerprint only, ${name}, 32 MiB in memory`, large.memory.length, () => {
    for (let at = 0; at < large.memory.length; at += blockBytes) large.of(at, at + blockBytes)
  })
  const block = new Fingerprinter(seed, new ScanMemory(blockBytes))
  measure(`read only, ${name}`, fileBytes, () => {
    for (let position = 0; position < fileBytes; position += blockBytes) readSync(fd, block.memory, { position })
  })
  measure(`read and fingerprint, ${name}`, fileBytes, () => {
    for (let position = 0; position < fileBytes; position += blockBytes) {
      readSync(fd, block.memory, { position })
      block.of(0, blockBytes)
    }
  })
}

function measure(name: string, bytes: number, work: () => void): void {
  work()
  const rates = Array.from({ length: rounds }, () => {
    const started = performance.now()
    work()
    return bytes / 1000 / (performance.now() - started)
  }).sort((a, b) => a - b)
  say(`${name}: ${rates[rounds >> 1]?.toFixed(0)} MB/s (best ${rates.at(-1)?.toFixed(0)})`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
