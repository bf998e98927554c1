import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { systemRandom } from '../src/base/random.ts'
import { directoryStore } from '../src/store/directory.ts'
import { addAgentWithSource, batchOf, blockOf, newTestVault, putFile, write } from '../test/support/vault-world.ts'

/**
 * How quickly a vault makes things durable, on the file system of the temporary directory (set TMPDIR for another):
 * single small batches one after the other, and blocks of 64 KiB chunks that compress about 3:1.
 *
 *   node bench/vault-append.ts [MiB of blocks, default 1024]
 */
const MiB = 1024 * 1024
const ingestMiB = Number(process.argv[2] ?? 1024)
const singles = 1000
const chunkBytes = 64 * 1024
const chunksPerBlock = 8

const folder = await mkdtemp(join(tmpdir(), 'tidemark-bench-'))
try {
  const vault = await newTestVault({
    store: await directoryStore(join(folder, 'vault')),
    clock: systemClock,
    random: systemRandom,
    cataloguePath: join(folder, 'catalogue'),
  })
  const { agent, source } = await addAgentWithSource(vault, 'bench')
  const appender = await vault.appender(agent, source, new AbortController().signal)

  const latenciesMs: number[] = []
  const kibibyte = Buffer.from(systemRandom.bytes(1024))
  for (let at = 1; at <= singles; at++) {
    const bytes = batchOf(at, [write('log', at, kibibyte)])
    const began = performance.now()
    await appender.batch(bytes)
    latenciesMs.push(performance.now() - began)
  }
  latenciesMs.sort((one, other) => one - other)
  const quantile = (part: number): string => (latenciesMs[Math.floor(part * latenciesMs.length)] ?? 0).toFixed(2)
  console.log(`single 1 KiB batch: p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms, max ${quantile(0.9999)} ms`)

  // Prepared in portions, so that only the vault's own work is measured.
  const words = Array.from({ length: 300 }, () => Buffer.from(systemRandom.bytes(9)).toString('base64'))
  let next = singles + 1
  let wallMs = 0
  let cpuUs = 0
  let storedBytes = 0
  for (let done = 0; done < ingestMiB;) {
    const blocks = Array.from({ length: (64 * MiB) / (chunkBytes * chunksPerBlock) }, () =>
      blockOf(vault, ...Array.from({ length: chunksPerBlock }, text)),
    )
    done += 64
    const files = blocks.map(({ chunks, bytes }, index) => ({
      bytes,
      batch: batchOf(next + index, [putFile('f', chunks)]),
    }))
    storedBytes += blocks.reduce((sum, { bytes }) => sum + bytes.length, 0)
    next += blocks.length
    const began = performance.now()
    const cpu = process.cpuUsage()
    const underWay: Promise<void>[] = []
    for (const { bytes, batch } of files) {
      await appender.block(bytes)
      underWay.push(appender.batch(batch))
      // As a link does: what arrives comes in turns of the event loop.
      await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(underWay)
    wallMs += performance.now() - began
    const { user, system } = process.cpuUsage(cpu)
    cpuUs += user + system
  }
  const mib = Math.ceil(ingestMiB / 64) * 64
  console.log(
    `ingest of ${mib} MiB in 512 KiB blocks (${((mib * MiB) / storedBytes).toFixed(1)}:1): ` +
      `${((mib * MiB) / 1e3 / wallMs).toFixed(0)} MB/s, ${(cpuUs / 1e6 / (mib / 1024)).toFixed(2)} CPU s/GiB`,
  )
  await vault[Symbol.asyncDispose]()

  function text(): Buffer {
    let line = ''
    while (line.length < chunkBytes) {
      line += `${words[Math.floor(systemRandom.fraction() * words.length)]} = ${Math.floor(systemRandom.fraction() * 100)};\n`
    }
    return Buffer.from(line.slice(0, chunkBytes), 'latin1')
  }
} finally {
  await rm(folder, { recursive: true })
}
