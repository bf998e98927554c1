import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { isSystemError } from '../../base/errors.ts'
import { writeSecret } from '../../wire/authority.ts'
import { endedStates, taskLine, taskReport, taskWork } from '../../wire/orders.ts'

/** What an agent remembers of a task, so that it begins each run of it once. */
const taskNote = z.object({
  id: taskReport.shape.id,
  run: z.int().min(1),
  work: taskWork,
  state: z.enum(['running', ...endedStates]),
  /** Which process does it: its id, and its start in ticks since the boot, which no later process of that id shares. */
  process: z.object({ pid: z.int().min(1), started: z.string() }).optional(),
  /** Steps of a restore that are done, by their number, and what was told at their end. */
  receipts: z.array(z.object({ step: z.int().min(0), receipt: z.record(z.string(), z.unknown()) })),
  error: taskReport.shape.error,
  result: taskReport.shape.result,
  /** The newest lines of the log, and the number of the first of them. */
  first: z.int().min(0),
  lines: z.array(taskLine),
  /** Of the agent's clock. */
  at: z.int(),
})
export type TaskNote = z.infer<typeof taskNote>

/** Of tasks that ended the newest are remembered: the vault asks again for what it has not been told the end of. */
const endedMax = 64
const suffix = '.json'

/** The folder `tasks` of an agent's directory: a file for each task, replaced whole and durable. */
export class TaskNotes {
  readonly #folder: string
  readonly #notes: Map<string, TaskNote>

  private constructor(folder: string, notes: Map<string, TaskNote>) {
    this.#folder = folder
    this.#notes = notes
  }

  static async open(directory: string): Promise<TaskNotes> {
    const folder = join(directory, 'tasks')
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const notes = new Map<string, TaskNote>()
    for (const name of await readdir(folder)) {
      if (!name.endsWith(suffix)) continue
      const note = await readNote(join(folder, name))
      if (note !== undefined) notes.set(note.id, note)
    }
    return new TaskNotes(folder, notes)
  }

  get(id: string): TaskNote | undefined {
    return this.#notes.get(id)
  }

  get all(): TaskNote[] {
    return [...this.#notes.values()]
  }

  /** Durable once it resolves. */
  async put(note: TaskNote): Promise<void> {
    await writeSecret(this.#file(note.id), JSON.stringify(note))
    this.#notes.set(note.id, note)
    const ended = this.all.filter(({ state }) => state !== 'running').sort((one, other) => one.at - other.at)
    for (const { id } of ended.slice(0, Math.max(0, ended.length - endedMax))) {
      this.#notes.delete(id)
      await rm(this.#file(id), { force: true })
    }
  }

  #file(id: string): string {
    return join(this.#folder, `${id}${suffix}`)
  }
}

/** A note that cannot be read says nothing: the task is as good as unknown, and a target that holds something is refused. */
async function readNote(file: string): Promise<TaskNote | undefined> {
  try {
    const parsed = taskNote.safeParse(JSON.parse(await readFile(file, 'utf8')))
    return parsed.success ? parsed.data : undefined
  } catch (error) {
    if (error instanceof SyntaxError || isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}
