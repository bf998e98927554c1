import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type SourceStatus, vaultStatus } from '../src/api/schemas.ts'
import { formatBytes, formatCount, formatDurationMs, formatTable } from '../src/cli/format.ts'
import { moment, isoMoment } from '../src/model/moment.ts'
import { socketApiClient } from '../src/wire/http-client.ts'
import { accident, compare, digestTree, Editor, treeBytes } from './editor.ts'

/**
 * `npm run demo`: a vault and an agent on this machine, a directory at work, an accident, the last moment before it.
 * Ends with status 0 only if every file came back as the editor had recorded it.
 */
const { values: options } = parseArgs({
  options: {
    files: { type: 'string' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h' },
  },
})
const editingMs = 15_000
const editPauseMs = 12
const quietMs = 700
const documents = 3000
const waitMsMax = 100_000

if (options.help) {
  process.stdout
    .write(`npm run demo                    protect a directory at work, suffer an accident, restore the moment before it
npm run demo -- --files PATH    protect your own directory and restore it beside itself; no accident
npm run demo -- --keep          leave everything running and say how to look around
Exit status: 0 every comparison held, 1 otherwise
`)
  process.exit(0)
}

const mainFile = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const started = performance.now()
const place = mkdtempSync(join(realpathSync(tmpdir()), 'tidemark-demo-'))
const home = join(place, 'home')
const environment: NodeJS.ProcessEnv & { TIDEMARK_TOKEN?: string } = { ...process.env, TIDEMARK_HOME: home }
const running: ChildProcess[] = []

const say = (text: string): void =>
  void process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${text}\n`)
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

function start(...parameters: string[]): ChildProcess {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', mainFile, ...parameters], {
    env: environment,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: options.keep,
  })
  running.push(child)
  return child
}

async function run(...parameters: string[]): Promise<string> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', mainFile, ...parameters], {
    env: environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (piece: Buffer) => (output += piece.toString()))
  const [status] = (await once(child, 'close')) as [number | null]
  if (status !== 0) throw new Error(`tidemark ${parameters.join(' ')} ended with status ${status}\n${output}`)
  return output
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

async function until(what: string, done: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + waitMsMax
  while (!(await done())) {
    if (performance.now() > end) throw new Error(`${what}: still not after ${waitMsMax / 1000} s`)
    await pause(50)
  }
}

async function statusOf(name: string): Promise<SourceStatus | undefined> {
  const status = await socketApiClient(join(home, 'vault', 'api.sock')).json('GET', '/v1/status', vaultStatus)
  return status.sources.find((source) => source.name === name)
}

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

async function waitForBaseline(name: string): Promise<void> {
  let told = 0
  await until('baseline', async () => {
    const status = await statusOf(name)
    if (status?.progress && performance.now() - told > 1000) {
      told = performance.now()
      say(
        `baseline: ${formatCount(status.progress.files)} files, ${formatBytes(status.progress.bytes)}, ${formatBytes(status.bytesPerSecond)}/s`,
      )
    }
    return status?.state === 'protected'
  })
}

async function main(): Promise<number> {
  mkdirSync(home, { recursive: true })
  const port = await freePort()
  say(`everything of this demonstration is below ${place}`)
  await run('vault', 'init', '--name', 'demo')
  start('vault', 'run', '--listen', `127.0.0.1:${port}`)
  await until('vault', () => existsSync(join(home, 'vault', 'api.sock')))
  const token = (JSON.parse(await run('--vault', join(home, 'vault'), 'vault', 'token', '--json')) as { token: string })
    .token
  environment.TIDEMARK_TOKEN = token
  await run('agent', 'join', `127.0.0.1:${port}`, '--name', 'this-server')
  delete environment.TIDEMARK_TOKEN
  start('agent', 'run')
  await until('agent', () => existsSync(join(home, 'agent', 'api.sock')))
  say('a vault and an agent run, joined by mutual TLS')
  return options.files === undefined ? protectOffice() : protectOwn(realpathSync(resolve(options.files)))
}

async function protectOffice(): Promise<number> {
  const office = join(place, 'office')
  mkdirSync(office)
  const editor = new Editor(office, 20_261_122)
  editor.fill(documents)
  say(`an office with ${formatCount(editor.record.size)} documents, ${formatBytes(treeBytes(office))}`)
  await run('protect', 'files', office, '--name', 'office')
  for (let count = 0; count < 30; count++) editor.edit()
  await waitForBaseline('office')

  say(`${editingMs / 1000} s of work on it, while every change reaches the vault`)
  const lags: number[] = []
  const end = performance.now() + editingMs
  let sampled = performance.now()
  while (performance.now() < end) {
    editor.edit()
    await pause(editPauseMs)
    if (performance.now() - sampled < 100) continue
    sampled = performance.now()
    const status = await statusOf('office')
    if (status?.lagMs !== null && status?.lagMs !== undefined) lags.push(status.lagMs)
    if (lags.length % 30 === 0)
      say(
        `live: ${formatCount(editor.edits)} edits, lag ${formatDurationMs(lags.at(-1) ?? 0)}, ${formatCount(status?.sequence ?? 0)} changes in the vault`,
      )
  }
  await pause(quietMs)
  const before = moment(Math.round(Date.now() * 1000))
  const record = new Map(editor.record)
  await pause(20)
  const damage = accident(office)
  say(
    `accident: ${damage.encrypted} files encrypted in place, ${damage.renamed} encrypted and renamed, ${damage.deleted} deleted`,
  )
  await pause(quietMs)

  const target = join(place, 'restored')
  const restoring = performance.now()
  say(`restoring the last moment before it: ${isoMoment(before)}`)
  await run('restore', 'office', '--at', isoMoment(before), '--to', target)
  const restoreMs = performance.now() - restoring
  const comparison = compare(record, digestTree(join(target, office)))
  const status = await statusOf('office')
  lags.sort((a, b) => a - b)
  process.stdout.write(
    `\n${formatTable(
      ['proof', ''],
      [
        ['lag measured at the vault, p50', formatDurationMs(percentile(lags, 0.5))],
        ['lag measured at the vault, p99', formatDurationMs(percentile(lags, 0.99))],
        ['changes in the journal', formatCount(status?.sequence ?? 0)],
        ['bytes restored', formatBytes(treeBytes(target))],
        ['restore time', formatDurationMs(restoreMs)],
        ["files compared with the editor's record", formatCount(comparison.compared)],
        ['differences', String(comparison.differences.length)],
      ],
      [1],
    )}\n`,
  )
  for (const difference of comparison.differences.slice(0, 20)) process.stdout.write(`  ${difference}\n`)
  return comparison.differences.length === 0 ? 0 : 1
}

async function protectOwn(directory: string): Promise<number> {
  const target = join(dirname(directory), `${basename(directory)}.restored-${Date.now()}`)
  await run('protect', 'files', directory, '--name', 'own')
  await waitForBaseline('own')
  await until('quiet', async () => (await statusOf('own'))?.dirty === 0)
  const status = await statusOf('own')
  const restoring = performance.now()
  await run('restore', 'own', '--at', 'latest', '--to', target)
  const restoreMs = performance.now() - restoring
  const comparison = compare(digestTree(directory), digestTree(join(target, directory)))
  process.stdout.write(
    `\n${formatTable(
      ['proof', ''],
      [
        ['changes in the journal', formatCount(status?.sequence ?? 0)],
        ['restored beside it, in', target],
        ['restore time', formatDurationMs(restoreMs)],
        ['files compared', formatCount(comparison.compared)],
        ['differences', String(comparison.differences.length)],
      ],
    )}\n`,
  )
  for (const difference of comparison.differences.slice(0, 20)) process.stdout.write(`  ${difference}\n`)
  return comparison.differences.length === 0 ? 0 : 1
}

function tellHowToLookAround(): void {
  process.stdout.write(`Everything goes on running. To look around:
  export TIDEMARK_HOME=${home}
  ./tidemark status
  ./tidemark points office --limit 20
  ./tidemark history office:${join(place, 'office', 'archive/scan-0.bin')}
To end it: kill ${running.map((child) => child.pid).join(' ')}; rm -r ${place}
`)
}

async function cleanUp(): Promise<void> {
  for (const child of running.toReversed()) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGTERM')
    await Promise.race([once(child, 'exit'), pause(5000).then(() => child.kill('SIGKILL'))])
  }
  rmSync(place, { recursive: true, force: true })
}

let status = 1
try {
  status = await main()
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.message : error}\n`)
}
if (options.keep) {
  tellHowToLookAround()
  for (const child of running) {
    child.unref()
    child.stdout?.destroy()
  }
} else await cleanUp()
process.exit(status)
