import { tasksRunningMax } from '../../api/tasks.ts'
import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/errors.ts'
import { unlessAborted } from '../../base/together.ts'
import { Wake } from '../../base/wake.ts'
import type { Id } from '../../model/source.ts'
import type { TaskOrder, TaskReport } from '../../wire/orders.ts'
import { outlive, type StartCommand } from './command-process.ts'
import { type TaskNote, TaskNotes } from './notes.ts'
import { RunningTask } from './running-task.ts'

/** A vault is told of a task at most so often. */
const reportEveryMs = 500
const linesPerReportMax = 200

export interface AgentTasksParts {
  readonly directory: string
  readonly start: StartCommand
  /** The operator of this server wants no tasks of the vault here. */
  readonly isRefusing: boolean
  readonly clock: Clock
  readonly tell: (line: string) => void
}

interface Known {
  readonly task: RunningTask
  /** Lines that this connection has told, or the vault has said that it has. */
  told: number
  /** Whether something is to be told on this connection. */
  isNews: boolean
}

/**
 * What the vault asks of this server. Each run of a task is begun once: it is noted before it is begun, and a vault that
 * orders it again is told how it is, or how it ended. What was running when the agent ended is interrupted.
 */
export class AgentTasks {
  readonly #parts: AgentTasksParts
  readonly #notes: TaskNotes
  readonly #running = new Map<string, Known>()
  /** Ended before this connection began, and asked for. */
  readonly #endings: TaskNote[] = []
  readonly #doing = new Set<Promise<void>>()
  readonly #changed = new Wake()
  #reporting = new AbortController()
  readonly #early = new Map<string, TaskOrder>()
  #isReady = false
  #isStopping = false

  private constructor(parts: AgentTasksParts, notes: TaskNotes) {
    this.#parts = parts
    this.#notes = notes
  }

  static async open(parts: AgentTasksParts): Promise<AgentTasks> {
    return new AgentTasks(parts, await TaskNotes.open(parts.directory))
  }

  ordered(order: TaskOrder): void {
    if (this.#isStopping) return
    // The vault orders all of them anew on each connection.
    if (!this.#isReady) return void this.#early.set(order.id, order)
    const known = this.#running.get(order.id)
    if (known?.task.order.run === order.run) {
      known.told = Math.max(known.told, order.logged)
      known.isNews = true
      return this.#changed.wake()
    }
    const note = this.#notes.get(order.id)
    if (note !== undefined && note.run >= order.run) {
      this.#endings.push(note)
      return this.#changed.wake()
    }
    // The vault orders no more at once; one that does is not obeyed.
    if (known?.task.isOver === false || this.#busy >= tasksRunningMax) return
    if (this.#parts.isRefusing) return this.#refuse(order)
    this.#begin(order, note)
  }

  cancelled(id: Id, run: number): void {
    const known = this.#running.get(id)
    if (known?.task.order.run === run) known.task.stop('cancelled')
  }

  /** A vault is there that takes reports. */
  reporting(send: (report: TaskReport) => Promise<void>): Disposable {
    this.#reporting.abort()
    const reporting = new AbortController()
    this.#reporting = reporting
    this.#endings.length = 0
    for (const known of this.#running.values()) {
      known.told = 0
      known.isNews = true
    }
    // A connection that is gone shows itself to its reader.
    void this.#report(send, reporting.signal).catch(() => undefined)
    return { [Symbol.dispose]: () => reporting.abort() }
  }

  /** Until `signal` aborts; then all that runs is stopped, and noted as interrupted. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#takeUp(signal)
      this.#isReady = true
      for (const order of this.#early.values()) this.ordered(order)
      await unlessAborted(new Promise<never>(() => undefined), signal)
    } finally {
      this.#isStopping = true
      for (const { task } of this.#running.values()) task.stop('interrupted')
      await Promise.all(this.#doing)
      this.#reporting.abort()
    }
  }

  /** Ends what an earlier process of this agent has left running. */
  async #takeUp(signal: AbortSignal): Promise<void> {
    const { clock, tell } = this.#parts
    for (const { process: left, ...note } of this.#notes.all.filter(({ state }) => state === 'running')) {
      if (left !== undefined) await outlive(left, clock, signal)
      await this.#notes.put({ ...note, state: 'interrupted', error: agentEnded })
      tell(`a ${note.work.kind} was interrupted, and can be resumed`)
    }
  }

  get #busy(): number {
    return [...this.#running.values()].filter(({ task }) => !task.isOver).length
  }

  #refuse({ id, run, work }: TaskOrder): void {
    const at = this.#parts.clock.now()
    this.#endings.push({ id, run, work, state: 'failed', error: refusedHere, receipts: [], first: 0, lines: [], at })
    this.#changed.wake()
  }

  #begin(order: TaskOrder, before: TaskNote | undefined): void {
    const { directory, start, clock, tell } = this.#parts
    const known: Known = {
      task: new RunningTask(order, before, {
        notes: this.#notes,
        start,
        before: ['--agent', directory],
        clock,
        changed: () => {
          known.isNews = true
          this.#changed.wake()
        },
      }),
      told: order.logged,
      isNews: true,
    }
    this.#running.set(order.id, known)
    tell(`the vault asks for a ${order.work.kind}`)
    const doing = known.task.run().catch((error: unknown) => {
      // Its note cannot be written: what it is at is known when the agent is started again.
      tell(`a ${order.work.kind} has failed: ${messageOf(error)}`)
    })
    this.#doing.add(doing)
    void doing.finally(() => this.#doing.delete(doing))
  }

  async #report(send: (report: TaskReport) => Promise<void>, signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#changed.until(() => (this.#isNews ? true : undefined), signal)
      for (const note of this.#endings.splice(0)) await unlessAborted(send(endingOf(note)), signal)
      for (const [id, known] of this.#running) {
        if (!known.isNews) continue
        known.isNews = false
        const report = known.task.report(known.told, linesPerReportMax)
        await unlessAborted(send(report), signal)
        known.told = report.first + report.lines.length
        if (report.lines.length === linesPerReportMax) known.isNews = true
        if (report.state !== 'running' && this.#running.get(id) === known) this.#running.delete(id)
      }
      await this.#parts.clock.sleep(reportEveryMs, signal)
    }
  }

  get #isNews(): boolean {
    return this.#endings.length > 0 || [...this.#running.values()].some(({ isNews }) => isNews)
  }
}

const endingOf = ({ id, run, state, first, lines, error, result }: TaskNote): TaskReport => ({
  id,
  run,
  state,
  first,
  lines,
  ...(error === undefined ? {} : { error }),
  ...(result === undefined ? {} : { result }),
})

const refusedHere = {
  code: 'not-allowed',
  message: 'the operator of that server has it take no tasks',
  hint: 'give the command on that server itself, or take "tasks": "none" out of the settings.json of its agent',
} as const

const agentEnded = {
  code: 'interrupted',
  message: 'the agent ended while it was at it',
  hint: 'resume it: what is done so far stays',
} as const
