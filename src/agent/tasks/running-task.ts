import { logLinesMax, type taskProgress } from '../../api/tasks.ts'
import { assert } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import type { TaskLine, TaskOrder, TaskReport } from '../../wire/orders.ts'
import type { z } from 'zod'
import { commandsOf, type TaskCommand } from './commands.ts'
import type { CommandEnd, StartCommand, StartedCommand } from './command-process.ts'
import type { TaskNote, TaskNotes } from './notes.ts'
import { readSaid } from './said.ts'

const lineCharactersMax = 1000
/** Kept with the note: what a vault that was not told the end gets of the log. */
const linesNotedMax = 100

export interface RunningParts {
  readonly notes: TaskNotes
  readonly start: StartCommand
  /** Before the command: which agent it speaks to. */
  readonly before: readonly string[]
  readonly clock: Clock
  /** Something is to be reported. */
  readonly changed: () => void
}

/** One run of a task, from the note that it has begun to the note how it ended. */
export class RunningTask {
  readonly order: TaskOrder
  readonly #parts: RunningParts
  #note: TaskNote
  readonly #lines: TaskLine[] = []
  /** Number of the first line kept. */
  #first = 0
  #progress: z.infer<typeof taskProgress> | undefined
  #command: StartedCommand | undefined
  #stopped: 'cancelled' | 'interrupted' | undefined

  constructor(order: TaskOrder, before: TaskNote | undefined, parts: RunningParts) {
    this.order = order
    this.#parts = parts
    this.#note = {
      id: order.id,
      run: order.run,
      work: order.work,
      state: 'running',
      receipts: before?.receipts ?? [],
      first: 0,
      lines: [],
      at: parts.clock.now(),
    }
  }

  /** Resolves when it is over and that is noted. */
  async run(): Promise<void> {
    const { work, run } = this.order
    await this.#parts.notes.put(this.#note)
    for (const command of commandsOf(work, run > 1)) {
      if (this.#note.receipts.some(({ step }) => step === command.step)) continue
      if (this.#stopped !== undefined) break
      if (!(await this.#do(command))) return
    }
    if (this.#stopped !== undefined) return this.#end(this.#stopped, this.#whyStopped())
    await this.#end('done')
  }

  /** What is told from that line on, at most so many lines. */
  report(from: number, linesMax: number): TaskReport {
    const skipped = Math.max(0, from - this.#first)
    const { id, run, state, error, result } = this.#note
    const lines = this.#lines.slice(skipped, skipped + linesMax)
    const hasMore = this.#lines.length > skipped + linesMax
    return {
      id,
      run,
      // The end is told with the last of the lines.
      state: hasMore ? 'running' : state,
      first: this.#first + skipped,
      lines,
      ...(this.#progress === undefined ? {} : { progress: this.#progress }),
      ...(error === undefined || hasMore ? {} : { error }),
      ...(result === undefined || hasMore ? {} : { result }),
    }
  }

  get isOver(): boolean {
    return this.#note.state !== 'running'
  }

  stop(why: 'cancelled' | 'interrupted'): void {
    this.#stopped ??= why
    this.#command?.stop()
  }

  /** Whether the next one may follow. */
  async #do({ args, step, title }: TaskCommand): Promise<boolean> {
    const { start, before, notes } = this.#parts
    const told: { error?: TaskReport['error'] | undefined; err: string } = { err: '' }
    this.#log(`tidemark ${args.join(' ')}`)
    const command = start([...before, ...args], (line, from) => {
      if (from === 'err') {
        if (line.trim() !== '') told.err = line
        return this.#log(line)
      }
      const said = readSaid(line, title)
      switch (said.kind) {
        case 'progress':
          this.#progress = said.progress
          return this.#parts.changed()
        case 'receipt':
          if (step !== undefined)
            this.#note = { ...this.#note, receipts: [...this.#note.receipts, { step, receipt: said.receipt }] }
          else this.#result({ receipt: said.receipt })
          return
        case 'verified':
          if (said.failures.length > 0) told.error = notRecoverable(said.failures)
          return this.#result({ receipt: said.receipt })
        case 'preflight':
          return this.#result({ preflight: [...(this.#note.result?.preflight ?? []), ...said.rows] })
        case 'discovered':
          return this.#result({ discovered: said.discovered })
        case 'error':
          told.error = said.error
          return
        case 'text':
          return this.#log(said.text)
      }
    })
    this.#command = command
    if (this.#stopped !== undefined) command.stop()
    if (command.process !== undefined) {
      this.#note = { ...this.#note, process: command.process }
      await notes.put(this.#note)
    }
    const end = await command.ended
    this.#command = undefined
    const { process: _over, ...note } = this.#note
    this.#note = note
    if (end.status === 0) {
      await notes.put(this.#note)
      return true
    }
    // What it told at its end is no receipt of something done.
    const receipts = this.#note.receipts.filter((one) => one.step !== step)
    const wrong = this.#note.receipts.find((one) => one.step === step)
    this.#note = { ...this.#note, receipts }
    if (wrong !== undefined) this.#result({ receipt: wrong.receipt })
    if (this.#stopped !== undefined) await this.#end(this.#stopped, this.#whyStopped())
    else await this.#failed(end, told)
    return false
  }

  async #failed(
    end: CommandEnd,
    { error, err }: { error?: TaskReport['error'] | undefined; err: string },
  ): Promise<void> {
    const told = error ?? {
      code: end.signal === null ? 'failed' : 'interrupted',
      message:
        end.signal === null
          ? `the command ended with status ${end.status ?? '-'}${err === '' ? '' : `: ${err.slice(0, lineCharactersMax)}`}`
          : `the process that did it was killed (${end.signal})`,
      hint: end.signal === null ? 'the log tells more' : 'resume it once there is room and memory enough',
    }
    const isResumable = this.order.work.kind === 'restore' && resumable.has(told.code)
    await this.#end(isResumable ? 'interrupted' : 'failed', told)
  }

  #result(more: NonNullable<TaskReport['result']>): void {
    this.#note = { ...this.#note, result: { ...this.#note.result, ...more } }
  }

  async #end(state: Exclude<TaskReport['state'], 'running'>, error?: TaskReport['error']): Promise<void> {
    assert(!this.isOver, 'a task ends once')
    if (state === 'done') this.#sumUp()
    const lines = this.#lines.slice(-linesNotedMax)
    const first = this.#first + this.#lines.length - lines.length
    const note = {
      ...this.#note,
      state,
      first,
      lines,
      at: this.#parts.clock.now(),
      ...(error === undefined ? {} : { error }),
    }
    await this.#parts.notes.put(note)
    this.#note = note
    this.#parts.changed()
  }

  /** The receipt of one restore, or those of all sources of a system. */
  #sumUp(): void {
    const { receipts } = this.#note
    const [first, ...more] = receipts.toSorted((one, other) => one.step - other.step)
    if (first === undefined) return
    this.#result({
      receipt: more.length === 0 ? first.receipt : { sources: [first, ...more].map(({ receipt }) => receipt) },
    })
  }

  #whyStopped(): TaskReport['error'] {
    if (this.#stopped === 'cancelled') return undefined
    return { code: 'interrupted', message: 'the agent was stopped', hint: 'resume it: what is done so far stays' }
  }

  #log(line: string): void {
    this.#lines.push({ at: this.#parts.clock.now(), line: line.slice(0, lineCharactersMax) })
    if (this.#lines.length > logLinesMax) {
      this.#lines.shift()
      this.#first++
    }
    this.#parts.changed()
  }
}

const notRecoverable = (failures: readonly string[]): NonNullable<TaskReport['error']> => ({
  code: 'verification-failed',
  message: failures.slice(0, 3).join('; ').slice(0, 4096),
  hint: 'the result names what was looked at; verify an earlier point, and keep the vault as it is',
})

/** What is restored so far stays where one of these ends it. */
const resumable: ReadonlySet<string> = new Set(['interrupted', 'unreachable', 'not-running', 'no-space'])
