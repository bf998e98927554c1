import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { AgentTasks } from '../../src/agent/tasks/agent-tasks.ts'
import type { CommandEnd, StartCommand } from '../../src/agent/tasks/command-process.ts'
import type { TaskBody } from '../../src/api/tasks.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import type { Id } from '../../src/model/source.ts'
import { KeptTasks } from '../../src/vault-server/tasks/kept-tasks.ts'
import type { Plan } from '../../src/vault-server/tasks/plan.ts'
import { Tasks } from '../../src/vault-server/tasks/tasks.ts'
import { goodLine, linkPair } from '../../src/wire/link-pair.ts'
import type { TaskWork } from '../../src/wire/orders.ts'
import type { VaultPort } from '../../src/wire/ports.ts'
import { serveConnection } from '../../src/wire/serve.ts'
import { followVault } from '../../src/wire/ship.ts'
import { until } from '../support/until.ts'
import { Seeded } from './random.ts'

/** Vault and agent in one process, on a line that is cut again and again; commands are counted instead of run. */

const agent = 'a'.repeat(32) as Id
/** Everything waits a fiftieth of what it waits for. */
const quick: Clock = {
  now: systemClock.now,
  monotonicMs: () => systemClock.monotonicMs() * 50,
  sleep: (ms, signal) => systemClock.sleep(ms / 50, signal),
}
const body: TaskBody = {
  kind: 'restore',
  agent: 'web',
  source: 'docs',
  at: 'latest',
  to: '/b',
  paths: [],
  start: false,
}
const work: TaskWork = {
  kind: 'restore',
  steps: ['one', 'two'].map((source) => ({ source, kind: 'files', at: 'seq:1', to: `/b/${source}` })),
  paths: [],
  start: false,
  isInPlace: false,
}
const plan = { agent: { id: agent, name: 'web' }, sources: [], work } as unknown as Plan

/** Says this, line by line, and ends; stopped, it ends as an interrupted one. */
function countedCommands(): { readonly start: StartCommand; readonly begun: string[]; running: number } {
  const counted = { begun: [] as string[], running: 0, start: (() => undefined) as unknown as StartCommand }
  counted.start = (args, heard) => {
    const source = String(args[3])
    counted.begun.push(source)
    counted.running++
    const stopped = new AbortController()
    const run = async (): Promise<CommandEnd> => {
      try {
        for (let line = 0; line < 4; line++) {
          await quick.sleep(200, stopped.signal)
          heard(`${source} ${line}`, 'err')
          heard(
            JSON.stringify({ progress: { stage: 'writing', files: line, filesTotal: 4, bytes: 0, bytesTotal: 0 } }),
            'out',
          )
        }
        heard(JSON.stringify({ receipt: { source } }), 'out')
        return { status: 0, signal: null }
      } catch {
        heard(JSON.stringify({ error: { code: 'interrupted', message: 'stopped' } }), 'out')
        return { status: 3, signal: null }
      } finally {
        counted.running--
      }
    }
    return { process: undefined, ended: run(), stop: () => stopped.abort() }
  }
  return counted
}

async function scene(t: TestContext, seed: number, cutAfterBytes: number) {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-cuts-'))
  const random = new Seeded(seed)
  const tell = (): void => undefined
  const tasks = new Tasks({
    kept: KeptTasks.open(join(directory, 'tasks.sqlite'), tell),
    clock: quick,
    random: systemRandom,
    tell,
  })
  const port: VaultPort = {
    id: 'e'.repeat(32) as Id,
    software: 'test',
    chunkKey: Buffer.alloc(32),
    async *definitions(_agent, signal) {
      yield []
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
    },
    control: (peer) => tasks.connect(peer),
    append: () => Promise.reject(new Error('nothing is appended here')),
  }
  const commands = countedCommands()
  const agentTasks = await AgentTasks.open({ directory, start: commands.start, isRefusing: false, clock: quick, tell })
  const stop = new AbortController()
  const running = agentTasks.run(stop.signal).catch((error: unknown) => assert.ok(stop.signal.aborted, String(error)))
  let connections = 0
  const connecting = (async () => {
    while (!stop.signal.aborted) {
      // A few that are cut anywhere, then a good one.
      const cut =
        connections++ === 0 ? cutAfterBytes : connections < 5 ? random.integer(1, 3000) : Number.POSITIVE_INFINITY
      const [near, far] = linkPair({ ...goodLine, pieceBytesMax: 512, cutAfterBytes: cut }, quick, random).ends
      const served = serveConnection(far, { agent }, port, quick, stop.signal)
      await followVault(
        near,
        { software: 'test', server: { minutesAhead: 0, limits: [] } },
        {
          definitions: () => undefined,
          reporting: (send) => agentTasks.reporting(send),
          ordered: (order) => agentTasks.ordered(order),
          cancelled: (id, run) => agentTasks.cancelled(id, run),
          limited: () => undefined,
        },
        quick,
        stop.signal,
      ).catch(() => undefined)
      await served
      await quick.sleep(100)
    }
  })()
  t.after(async () => {
    stop.abort()
    await Promise.all([running, connecting])
    await tasks[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true })
  })
  return { tasks, commands, connected: () => connections }
}

test('a task is done once, and told whole, wherever the line is cut', { timeout: 600_000 }, async (t) => {
  for (let cut = 1; cut < 4000; cut += 97) {
    await t.test(`after ${cut} bytes`, async (inner) => {
      const { tasks, commands } = await scene(inner, cut, cut)
      const { id } = tasks.add(body, 'operator', plan)
      await until('the end', () => tasks.get(id).state === 'done')
      assert.deepEqual(commands.begun, ['one', 'two'])
      const lines = tasks.get(id).log.map(({ line }) => line)
      const told = ['one', 'two'].flatMap((source) => [0, 1, 2, 3].map((line) => `${source} ${line}`))
      assert.deepEqual(
        lines.filter((line) => /^(?:one|two) \d$/.test(line)),
        told,
      )
      assert.deepEqual(tasks.get(id).result?.receipt, { sources: [{ source: 'one' }, { source: 'two' }] })
    })
  }
})

test('a cancelled task ends at both sides, wherever the line is cut', { timeout: 600_000 }, async (t) => {
  for (let cut = 300; cut < 3000; cut += 211) {
    await t.test(`after ${cut} bytes`, async (inner) => {
      const { tasks, commands, connected } = await scene(inner, cut, cut)
      const { id } = tasks.add(body, 'operator', plan)
      await until('a beginning or an end', () => commands.begun.length > 0 || tasks.get(id).state === 'done')
      if (!['done', 'cancelled'].includes(tasks.get(id).state)) tasks.cancel(id, 'operator')
      assert.deepEqual([...tasks.granted(agent)], [])
      await until('the end', () => ['done', 'cancelled'].includes(tasks.get(id).state) && commands.running === 0)
      assert.ok(commands.begun.length <= 2 && connected() > 0)
    })
  }
})
