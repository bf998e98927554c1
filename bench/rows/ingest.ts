import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import type { VaultStatus } from '../../src/api/schemas.ts'
import { until } from '../command.ts'
import { Place } from '../place.ts'
import { ours } from '../record.ts'
import type { Assignment, Row } from '../row.ts'
import { Tidemark } from '../tidemark.ts'
import type { AgentsReport, AgentsTask, Load } from './ingest-agents.ts'

const row = 'ingest'
const gibibyte = 1024 ** 3

export const ingest: Row = { name: row, title: 'One vault taking in what simulated agents ship', measure }

async function measure(assignment: Assignment): Promise<void> {
  const { runs, isQuick } = assignment
  const scale = isQuick ? 8 : 1
  for (let count = 0; count < runs; count++) {
    for (const agents of [1, 10, 100]) {
      await trial(assignment, agents, { of: 'content', bytes: (2 * gibibyte) / scale / agents })
      await trial(assignment, agents, { of: 'changes', changes: 800_000 / scale / agents })
    }
  }
}

async function trial(assignment: Assignment, agents: number, load: Load): Promise<void> {
  const { record, tell } = assignment
  using place = new Place(row)
  await using tidemark = await Tidemark.startVaultOnly(join(place.directory, 'tidemark'), {
    profileDirectory: assignment.profileDirectory,
  })
  const crowds = await Promise.all(shares(agents).map((share) => Crowd.gather(tidemark, share, load)))
  using watched = tidemark.watchVault()
  const began = performance.now()
  const done = await Promise.all(crowds.map((crowd) => crowd.go()))
  const seconds = (performance.now() - began) / 1000
  await until('everything to be indexed', async () => {
    const { sources } = (await tidemark.ask('GET', '/v1/status')) as VaultStatus
    return sources.every(({ sequence, indexed }) => sequence === indexed)
  })
  const indexedSeconds = (performance.now() - began) / 1000
  const { cpuSeconds, memoryBytes } = watched.usage()
  const bytes = done.reduce((sum, { shippedBytes }) => sum + shippedBytes, 0)
  const changes = done.reduce((sum, one) => sum + one.changes, 0)
  const what = `${agents} agents, ${load.of === 'content' ? 'content that cannot be compressed' : 'small files'}`
  tell(
    `${what}: ${(bytes / 1e6 / seconds).toFixed(0)} MB/s, ${(changes / seconds).toFixed(0)} changes/s, ${cpuSeconds.toFixed(1)} CPU s, indexed after ${indexedSeconds.toFixed(1)} of ${seconds.toFixed(1)} s`,
  )
  if (load.of === 'content') {
    record.add({ row, what, unit: 'MB/s' }, ours, bytes / 1e6 / seconds)
    record.add(
      { row, what: `${what}: CPU time of the vault`, unit: 'CPU s/GiB' },
      ours,
      (cpuSeconds * gibibyte) / bytes,
    )
  } else {
    record.add({ row, what: `${what}, acknowledged`, unit: 'changes/s' }, ours, changes / seconds)
    record.add({ row, what: `${what}, indexed`, unit: 'changes/s' }, ours, changes / indexedSeconds)
  }
  record.add({ row, what: `${what}: memory of the vault`, unit: 'MB' }, ours, memoryBytes / 1e6)
}

/** One process for a single agent, else two. */
const shares = (agents: number): number[] => (agents === 1 ? [1] : [Math.ceil(agents / 2), Math.floor(agents / 2)])

/** Simulated agents that share a process. */
class Crowd {
  readonly #process: ChildProcess

  private constructor(process: ChildProcess) {
    this.#process = process
  }

  static async gather(tidemark: Tidemark, agents: number, load: Load): Promise<Crowd> {
    const child = fork(join(import.meta.dirname, 'ingest-agents.ts'), {
      execArgv: ['--disable-warning=ExperimentalWarning'],
    })
    const crowd = new Crowd(child)
    const tokens: string[] = []
    while (tokens.length < agents) tokens.push(await tidemark.token())
    const names = tokens.map((_, index) => `agent-${child.pid}-${index}`)
    const task: AgentsTask = { ...tidemark.vaultAddress, tokens, names, load }
    const ready = crowd.#next('ready')
    child.send(task)
    await ready
    return crowd
  }

  async go(): Promise<Extract<AgentsReport, { is: 'done' }>> {
    const done = this.#next('done')
    this.#process.send('go')
    return done
  }

  #next<Is extends AgentsReport['is']>(is: Is): Promise<Extract<AgentsReport, { is: Is }>> {
    return new Promise((resolve, reject) => {
      const onExit = (status: number | null): void =>
        reject(new Error(`the simulated agents ended with status ${status}`))
      this.#process.once('exit', onExit)
      this.#process.once('message', (message: AgentsReport) => {
        this.#process.off('exit', onExit)
        if (message.is === is) resolve(message as Extract<AgentsReport, { is: Is }>)
        else reject(new Error(`${message.is} where ${is} was expected`))
      })
    })
  }
}
