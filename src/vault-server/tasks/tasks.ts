import type { TaskBody, TaskRecord, TaskState } from '../../api/tasks.ts'
import { tasksKeptMax, tasksRunningMax } from '../../api/tasks.ts'
import type { Clock } from '../../base/clock.ts'
import { isCode, messageOf, TidemarkError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import type { Id } from '../../model/source.ts'
import type { TaskLine, TaskReport } from '../../wire/orders.ts'
import type { AgentOrders, AgentPeer } from '../../wire/ports.ts'
import { orderVersionMin } from '../../wire/messages.ts'
import type { KeptTask, KeptTasks } from './kept-tasks.ts'
import { OrderQueue } from './order-queue.ts'
import type { Plan } from './plan.ts'

/** Waiting or running, of all agents. */
const openMax = 200
const ended: readonly TaskState[] = ['done', 'failed', 'cancelled', 'interrupted']
/** What is done by the vault counts as one agent's. */
const vaultItself = 'vault'

/** How a task of the vault itself tells what it does. */
export interface Told {
  /** Who asked for it. */
  readonly by: string
  log(line: string): void
  progress(progress: NonNullable<TaskRecord['progress']>): void
}
export type Outcome = Pick<TaskReport, 'error' | 'result'> & { readonly state: 'done' | 'failed' }
/** Does a task that is the vault's own. What it throws is why the task failed. */
export type DoAtVault = (body: TaskBody, source: Id, told: Told, signal: AbortSignal) => Promise<Outcome>

export interface TasksParts {
  readonly kept: KeptTasks
  readonly clock: Clock
  readonly random: Random
  /** Told, in a line each, of what the operator would want to find in a log. */
  readonly tell: (line: string) => void
}

/**
 * Long work that somebody asked for. A task is durable before it is answered. What an agent has to do is ordered over its
 * control connection, and again after each reconnect until the agent has told the end; reports of a run that is not under way
 * here are answered by a cancellation. While a task of an agent runs and is not cancelled, the agent may read its sources.
 *
 *   waiting ─▶ running ─▶ done · failed · cancelled · interrupted ─(resume)─▶ waiting
 *
 * What the vault itself did when it stopped is interrupted.
 */
export class Tasks implements AsyncDisposable {
  readonly #parts: TasksParts
  readonly #tasks = new Map<string, KeptTask>()
  readonly #sessions = new Map<Id, OrderQueue>()
  readonly #revisions = new Map<string, number>()
  readonly #atVault = new Map<string, AbortController>()
  readonly #doing = new Set<Promise<void>>()
  #do: DoAtVault | undefined
  #revision = 0
  #isToldFull = false

  constructor(parts: TasksParts) {
    this.#parts = parts
    for (const task of parts.kept.all()) this.#tasks.set(task.record.id, task)
    for (const task of this.#tasks.values()) {
      if (task.record.state !== 'running' || task.work !== undefined) continue
      this.#end(task, { state: 'interrupted', error: vaultStopped })
    }
  }

  /** Begins what the vault itself does; tasks of agents begin once they are connected. */
  begin(work: DoAtVault): void {
    this.#do = work
    this.#advance()
  }

  /** Newest first, without their logs. */
  list({ state, limit }: { readonly state?: TaskState | undefined; readonly limit: number }): TaskRecord[] {
    const found = [...this.#tasks.values()].filter(({ record }) => state === undefined || record.state === state)
    return found
      .slice(-limit)
      .reverse()
      .map(({ record }) => ({ ...record, log: [] }))
  }

  get(id: string): TaskRecord {
    const { record } = this.#task(id)
    const lines = this.#parts.kept.lines(id)
    return { ...record, log: lines.map(({ at, line }) => ({ at: isoMoment(at as Moment), line })) }
  }

  add(body: TaskBody, by: string, { source, agent, sources, work, rows }: Plan): TaskRecord {
    if ([...this.#tasks.values()].filter((task) => !isEnded(task)).length >= openMax) throw tooMany()
    const id = Buffer.from(this.#parts.random.bytes(16)).toString('hex')
    const task: KeptTask = {
      record: {
        id,
        kind: body.kind,
        body,
        state: 'waiting',
        by,
        ...(source === undefined ? {} : { source: source.name }),
        ...(agent === undefined ? {} : { agent: agent.name }),
        created: this.#now(),
        began: null,
        ended: null,
        ...(rows === undefined ? {} : { result: { preflight: [...rows] } }),
      },
      run: 0,
      logged: 0,
      ...(agent === undefined ? {} : { agent: agent.id }),
      sources: [...sources],
      ...(work === undefined ? {} : { work }),
      isCancelled: false,
    }
    this.#parts.kept.put(task, Date.parse(task.record.created))
    this.#tasks.set(id, task)
    this.#touch(task)
    this.#log(id, [this.#line(`asked for by ${by}`)])
    // The vault has answered all of a pre-flight check that there is to answer.
    if (body.kind === 'preflight' && work === undefined) this.#end(task, { state: 'done' })
    this.#advance()
    return this.get(id)
  }

  cancel(id: string, by: string): TaskRecord {
    const task = this.#task(id)
    if (isEnded(task)) {
      if (task.record.state !== 'interrupted') throw overAlready(task)
    }
    this.#log(id, [this.#line(`cancelled by ${by}`)])
    task.isCancelled = true
    const session = task.agent === undefined ? undefined : this.#sessions.get(task.agent as Id)
    if (task.record.state === 'running' && task.work === undefined) this.#atVault.get(id)?.abort(new Cancelled())
    else if (task.record.state === 'running' && session !== undefined) {
      this.#save(task)
      session.push({ kind: 'task-cancel', id: id as Id, run: task.run })
    } else this.#end(task, { state: 'cancelled' })
    return this.get(id)
  }

  resume(id: string, by: string): TaskRecord {
    const task = this.#task(id)
    if (task.record.state !== 'interrupted')
      throw new TidemarkError('bad-request', {
        message: `the task is ${task.record.state}, and only one that was interrupted is resumed`,
        hint: isEnded(task) ? 'ask for it anew' : 'it goes on by itself',
      })
    const { error, progress, ...record } = task.record
    task.record = { ...record, state: 'waiting', ended: null }
    task.isCancelled = false
    this.#save(task)
    this.#log(id, [this.#line(`resumed by ${by}`)])
    this.#advance()
    return this.get(id)
  }

  /** The sources of others that an agent may read now, for what it was asked to do. */
  granted(agent: Id): ReadonlySet<string> {
    const running = [...this.#tasks.values()].filter(
      (task) => task.agent === agent && task.record.state === 'running' && !task.isCancelled,
    )
    return new Set(running.flatMap(({ sources }) => sources))
  }

  /** Those that have changed after that revision, and the revision now. */
  changedSince(revision: number): { readonly revision: number; readonly ids: readonly string[] } {
    if (revision === this.#revision) return { revision, ids: [] }
    const changed = [...this.#revisions].filter(([, at]) => at > revision)
    return { revision: this.#revision, ids: changed.map(([id]) => id) }
  }

  /** The control connection of an agent: an earlier one of it gets nothing more. */
  connect({ agent, version, software }: Pick<AgentPeer, 'agent' | 'version' | 'software'>): AgentOrders {
    const queue = new OrderQueue()
    this.#sessions.get(agent)?.end()
    this.#sessions.set(agent, queue)
    const ours = [...this.#tasks.values()].filter((task) => task.agent === agent && !isEnded(task))
    if (version < orderVersionMin)
      for (const task of ours) this.#end(task, { state: 'failed', error: tooOld(software) })
    else for (const task of ours) if (task.record.state === 'running') this.#order(task, queue)
    queue.takesTasks = version >= orderVersionMin
    this.#advance()
    return {
      orders: queue,
      reported: (report) => this.#reported(agent, report, queue),
      [Symbol.dispose]: () => {
        queue.end()
        if (this.#sessions.get(agent) === queue) this.#sessions.delete(agent)
      },
    }
  }

  /** Something that agents are told beside their tasks has changed. */
  tell(agent: Id, order: Parameters<OrderQueue['push']>[0]): void {
    this.#sessions.get(agent)?.push(order)
  }

  /** An agent that is let in no more does nothing any more. */
  revoked(agent: Id): void {
    for (const task of this.#tasks.values())
      if (task.agent === agent && !isEnded(task)) this.#end(task, { state: 'failed', error: agentRevoked })
  }

  #reported(agent: Id, report: TaskReport, queue: OrderQueue): void {
    const task = this.#tasks.get(report.id)
    if (task?.agent !== agent || task.run !== report.run || task.record.state !== 'running') {
      if (report.state === 'running') queue.push({ kind: 'task-cancel', id: report.id, run: report.run })
      return
    }
    const lines = report.lines.slice(Math.max(0, task.logged - report.first))
    if (lines.length > 0) {
      this.#log(report.id, lines)
      task.logged = report.first + report.lines.length
    }
    if (report.progress !== undefined) task.record = { ...task.record, progress: report.progress }
    this.#touch(task)
    if (report.state !== 'running') this.#end(task, { ...report, state: report.state })
  }

  /** Begins what waits, oldest first, where there is who does it. */
  #advance(): void {
    const running = new Map<string, number>()
    const doerOf = ({ agent }: KeptTask): string => agent ?? vaultItself
    for (const task of this.#tasks.values())
      if (task.record.state === 'running') running.set(doerOf(task), (running.get(doerOf(task)) ?? 0) + 1)
    for (const task of this.#tasks.values()) {
      const busy = running.get(doerOf(task)) ?? 0
      if (task.record.state !== 'waiting' || busy >= tasksRunningMax) continue
      const session = task.agent === undefined ? undefined : this.#sessions.get(task.agent as Id)
      if (task.agent === undefined ? this.#do === undefined : session === undefined) continue
      if (session?.takesTasks === false) {
        // Which begins what else waits.
        this.#end(task, { state: 'failed', error: tooOld('an older release') })
        return
      }
      running.set(doerOf(task), busy + 1)
      task.run++
      task.logged = 0
      task.record = { ...task.record, state: 'running', began: task.record.began ?? this.#now() }
      this.#save(task)
      if (session !== undefined) this.#order(task, session)
      else this.#doAtVault(task)
    }
  }

  #order({ record, run, logged, work, isCancelled }: KeptTask, queue: OrderQueue): void {
    if (work === undefined) return
    queue.push({ kind: 'task', id: record.id as Id, run, logged, work })
    if (isCancelled) queue.push({ kind: 'task-cancel', id: record.id as Id, run })
  }

  #doAtVault(task: KeptTask): void {
    const [source] = task.sources
    const { id, body } = task.record
    const abort = new AbortController()
    this.#atVault.set(id, abort)
    const told: Told = {
      by: task.record.by,
      log: (line) => {
        this.#log(id, [this.#line(line)])
        this.#touch(task)
      },
      progress: (progress) => {
        task.record = { ...task.record, progress }
        this.#touch(task)
      },
    }
    const doing = (this.#do as DoAtVault)(body, source as Id, told, abort.signal).then(
      (outcome) => this.#end(task, outcome),
      (error: unknown) => this.#end(task, task.isCancelled ? { state: 'cancelled' } : failure(error)),
    )
    this.#doing.add(doing)
    void doing.finally(() => {
      this.#doing.delete(doing)
      this.#atVault.delete(id)
    })
  }

  #end(task: KeptTask, { state, error, result }: Pick<TaskReport, 'error' | 'result'> & { state: TaskState }): void {
    const rows = [...(task.record.result?.preflight ?? []), ...(result?.preflight ?? [])]
    const told = { ...task.record.result, ...result, ...(rows.length === 0 ? {} : { preflight: rows }) }
    task.record = {
      ...task.record,
      state,
      ended: this.#now(),
      ...(error === undefined ? {} : { error }),
      ...(Object.keys(told).length === 0 ? {} : { result: told }),
    }
    this.#log(task.record.id, [
      this.#line(error === undefined ? endings[state] : `${endings[state]}: ${error.message}`),
    ])
    this.#save(task)
    this.#forgetOldest()
    this.#advance()
  }

  #forgetOldest(): void {
    const over = [...this.#tasks.values()].filter(isEnded)
    for (const { record } of over.slice(0, Math.max(0, over.length - tasksKeptMax))) {
      this.#tasks.delete(record.id)
      this.#revisions.delete(record.id)
      this.#parts.kept.remove(record.id)
    }
  }

  #task(id: string): KeptTask {
    const task = this.#tasks.get(id)
    if (task !== undefined) return task
    throw new TidemarkError('not-found', {
      message: `there is no task "${id}"`,
      hint: `"tidemark tasks" lists them; of those that ended the newest ${tasksKeptMax} are kept`,
    })
  }

  /** A vault without room goes on with what it knows, and writes it the next time. */
  #save(task: KeptTask): void {
    this.#touch(task)
    this.#unlessFull(() => this.#parts.kept.put(task, Date.parse(task.record.created)))
  }

  #log(task: string, lines: readonly TaskLine[]): void {
    this.#unlessFull(() => this.#parts.kept.append(task, lines))
  }

  #unlessFull(write: () => void): void {
    try {
      write()
    } catch (error) {
      if (!isCode(error, 'vault-full')) throw error
      if (!this.#isToldFull) this.#parts.tell(error.message)
      this.#isToldFull = true
    }
  }

  #touch({ record }: KeptTask): void {
    this.#revisions.set(record.id, ++this.#revision)
  }

  #now(): string {
    return isoMoment(this.#parts.clock.now() as Moment)
  }

  #line(line: string): TaskLine {
    return { at: this.#parts.clock.now(), line }
  }

  /** What the vault itself does is interrupted, and the record closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#do = undefined
    const stopped = new TidemarkError('interrupted', vaultStopped)
    for (const abort of this.#atVault.values()) abort.abort(stopped)
    await Promise.allSettled(this.#doing)
    this.#parts.kept[Symbol.dispose]()
  }
}

class Cancelled extends Error {
  override readonly name = 'AbortError'
}

const isEnded = ({ record }: KeptTask): boolean => ended.includes(record.state)

const endings: Record<TaskState, string> = {
  waiting: 'waits',
  running: 'goes on',
  done: 'done',
  failed: 'failed',
  cancelled: 'cancelled',
  interrupted: 'interrupted, can be resumed',
}

function failure(error: unknown): Pick<TaskReport, 'error'> & { state: 'failed' | 'interrupted' } {
  if (!(error instanceof TidemarkError))
    return { state: 'failed', error: { code: 'failed', message: messageOf(error) } }
  const { code, message, hint } = error
  return {
    state: code === 'interrupted' ? 'interrupted' : 'failed',
    error: { code, message, ...(hint === undefined ? {} : { hint }) },
  }
}

const vaultStopped = {
  code: 'interrupted',
  message: 'the vault was stopped',
  hint: 'resume it: it begins anew',
} as const

const agentRevoked = {
  code: 'not-allowed',
  message: 'the agent was revoked',
  hint: 'ask for it on another server',
} as const

const tooOld = (software: string) => ({
  code: 'version-refused',
  message: `the agent runs ${software}, which takes no tasks`,
  hint: 'install the release of the vault on that server; until then give the command there',
})

const tooMany = (): TidemarkError =>
  new TidemarkError('in-use', {
    message: `${openMax} tasks wait or run already`,
    hint: 'wait for some of them, or cancel them',
  })

const overAlready = ({ record }: KeptTask): TidemarkError =>
  new TidemarkError('bad-request', { message: `the task is over: ${record.state}`, hint: 'there is nothing to cancel' })
