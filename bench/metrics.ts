import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { agentRecord, sourceStatus } from '../src/api/schemas.ts'
import { systemClock } from '../src/base/clock.ts'
import { socketApiClient } from '../src/wire/http-client.ts'
import { ask } from '../test/support/watched.ts'
import { median, percentile } from './record.ts'
import { Tidemark } from './tidemark.ts'

/**
 * What it costs a vault to tell its metrics:
 *
 *   node bench/metrics.ts [SOURCES]
 *
 * prints the time of a scrape, the processor time it takes of the vault, and how large it is, with 1,000 sources unless told.
 */
const count = Number(process.argv[2] ?? 1000)
const scrapes = 20

const home = mkdtempSync(join(tmpdir(), 'tidemark-bench-metrics-'))
try {
  await using tidemark = await Tidemark.start(home)
  const door = { socketPath: join(home, 'vault', 'api.sock') }
  const vault = socketApiClient(door.socketPath)
  const [agent] = await vault.json('GET', '/v1/agents', z.array(agentRecord))
  await tidemark.stopAgent()
  for (let one = 0; one < count; one++) {
    const source = { name: `source-${one}`, kind: 'files', agent: agent!.id, paths: [join(home, `nothing-${one}`)] }
    await vault.json('POST', '/v1/sources', sourceStatus, source)
  }
  const cpuSeconds = async (): Promise<number> =>
    Number(/^process_cpu_seconds_total (\S+)$/m.exec((await ask(door, '/metrics')).text)?.[1])
  await cpuSeconds()
  const tookMs: number[] = []
  const usedMs: number[] = []
  const restedMs: number[] = []
  let bytes = 0
  let before = await cpuSeconds()
  for (let scrape = 0; scrape < scrapes; scrape++) {
    await systemClock.sleep(1_500)
    const startedMs = systemClock.monotonicMs()
    const { text } = await ask(door, '/metrics')
    tookMs.push(systemClock.monotonicMs() - startedMs)
    bytes = Buffer.byteLength(text)
    const used = Number(/^process_cpu_seconds_total (\S+)$/m.exec(text)?.[1])
    usedMs.push((used - before) * 1000)
    before = used
  }
  for (let rest = 0; rest < 2; rest++) {
    await systemClock.sleep(15_000)
    const used = await cpuSeconds()
    restedMs.push(((used - before) * 1000) / 10)
    before = used
  }
  const told = {
    sources: count,
    bytes,
    scrapeMs: { median: median(tookMs), p95: percentile(tookMs, 0.95) },
    vaultCpuMsPerScrapeAnd1500Ms: median(usedMs),
    vaultCpuMsPer1500MsWithout: median(restedMs),
  }
  process.stdout.write(`${JSON.stringify(told, undefined, 2)}\n`)
} finally {
  rmSync(home, { recursive: true, force: true })
}
