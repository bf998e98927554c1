import type { Command } from 'commander'
import { z } from 'zod'
import { type ApiClient, apiPath } from '../api/client.ts'
import { type TaskBody, taskRecord, type TaskRecord, type TaskState, taskState } from '../api/tasks.ts'
import { TidemarkError } from '../base/errors.ts'
import { formatMoment } from '../model/moment.ts'
import { connect } from './connect.ts'
import { formatBytes, formatCount, formatDurationMs, formatTable } from './format.ts'
import { exitStatus, exitStatusHelp, type ExitStatus, type Parts } from './parts.ts'
import { isoToMoment } from './points.ts'

const refreshMs = 1000
const listedMax = 50

export function tasksCommand(program: Command, parts: Parts): void {
  const tasks = program
    .command('tasks')
    .argument('[id]', 'one of them, with its log')
    .description('long work that was asked for at the vault: restores, verifications, discoveries, new baselines')
    .option('--state <state>', `only those that are ${taskState.options.join(', ')}`)
    .option('--watch', 'of one: until it ends; of all: again every second, until interrupted')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `
An ID may be shortened as long as it means one task.
Examples:
  tidemark tasks
  tidemark tasks 3f2a --watch
  tidemark tasks cancel 3f2a
  tidemark tasks resume 3f2a
${exitStatusHelp}`,
    )
    .action(async (id: string | undefined, options: TasksOptions, command: Command) => {
      const client = connect(command, parts)
      if (id === undefined) return list(client, options, parts)
      const task = await found(client, id)
      if (options.watch === true) {
        await followTask(client, task, options.json ?? false, parts)
        return
      }
      const full = await client.json('GET', `/v1/tasks/${task.id}`, taskRecord)
      parts.out.write(options.json ? `${JSON.stringify(full)}\n` : describeTask(full))
    })

  for (const [word, description] of [
    ['cancel', 'stop it; what a restore has written stays, and can be gone on with by hand'],
    ['resume', 'go on with one that was interrupted'],
  ] as const) {
    tasks
      .command(word)
      .argument('<id>')
      .description(description)
      .option('--json', 'one JSON object')
      .addHelpText('after', `\nExample:\n  tidemark tasks ${word} 3f2a\n${exitStatusHelp}`)
      .action(async (id: string, options: { json?: boolean }, command: Command) => {
        const client = connect(command, parts)
        const { id: whole } = await found(client, id)
        const task = await client.json('POST', `/v1/tasks/${whole}/${word}`, taskRecord)
        const json = options.json ?? command.optsWithGlobals<{ json?: boolean }>().json ?? false
        parts.out.write(json ? `${JSON.stringify(task)}\n` : `${describeTask({ ...task, log: [] })}`)
      })
  }
}

interface TasksOptions {
  readonly state?: string
  readonly watch?: boolean
  readonly json?: boolean
}

async function list(client: ApiClient, { state, watch, json }: TasksOptions, parts: Parts): Promise<void> {
  const path = apiPath('/v1/tasks', { state, limit: listedMax })
  for (;;) {
    const tasks = await client.json('GET', path, z.array(taskRecord))
    if (watch === true && parts.out.isTerminal && json !== true) parts.out.write('\x1b[H\x1b[2J')
    if (json === true) for (const task of tasks) parts.out.write(`${JSON.stringify(task)}\n`)
    else parts.out.write(tasks.length === 0 ? 'nothing was asked for yet\n' : describeTasks(tasks))
    if (watch !== true) return
    await parts.clock.sleep(refreshMs, parts.signal)
  }
}

async function found(client: ApiClient, id: string): Promise<TaskRecord> {
  const tasks = await client.json('GET', apiPath('/v1/tasks', { limit: 200 }), z.array(taskRecord))
  const [one, ...others] = tasks.filter((task) => task.id.startsWith(id))
  if (one !== undefined && others.length === 0) return one
  throw new TidemarkError(one === undefined ? 'not-found' : 'bad-request', {
    message: one === undefined ? `there is no task "${id}"` : `"${id}" means ${others.length + 1} tasks`,
    hint: '"tidemark tasks" lists them',
  })
}

/** Begins it, and looks on until it ends. An interruption of this command leaves the task alone. */
export async function doTask(client: ApiClient, body: TaskBody, json: boolean, parts: Parts): Promise<TaskRecord> {
  const task = await client.json('POST', '/v1/tasks', taskRecord, body)
  if (!json)
    parts.err.write(`task ${task.id}: goes on by itself; "tidemark tasks ${task.id.slice(0, 8)}" tells how it is\n`)
  return followTask(client, task, json, parts)
}

async function followTask(client: ApiClient, { id }: TaskRecord, json: boolean, parts: Parts): Promise<TaskRecord> {
  let told = ''
  for (;;) {
    const task = await client.json('GET', `/v1/tasks/${id}`, taskRecord)
    const isOver = !['waiting', 'running'].includes(task.state)
    if (json) {
      const { log: _, ...brief } = task
      const text = JSON.stringify(isOver ? task : brief)
      if (text !== told) parts.out.write(`${text}\n`)
      told = text
    } else if (parts.err.isTerminal) {
      parts.err.write(isOver ? '\r\x1b[K' : `\r${task.state} ${describeProgress(task)}\x1b[K`)
    }
    if (isOver) {
      if (!json) parts.out.write(describeTask(task))
      parts.exitWith(statusOfEnd(task))
      return task
    }
    await parts.clock.sleep(refreshMs, parts.signal)
  }
}

function statusOfEnd({ state, error }: TaskRecord): ExitStatus {
  if (state === 'done') return exitStatus.done
  if (state === 'interrupted') return exitStatus.interrupted
  return error?.code === 'verification-failed' ? exitStatus.notVerified : exitStatus.failed
}

function describeTasks(tasks: readonly TaskRecord[]): string {
  return formatTable(
    ['TASK', 'KIND', 'OF', 'AGENT', 'STATE', 'BY', 'SINCE', ''],
    tasks.map((task) => [
      task.id.slice(0, 8),
      task.kind,
      subjectOf(task),
      task.agent ?? '',
      task.state,
      task.by,
      formatMoment(isoToMoment(task.created)),
      task.error?.message.split('\n')[0] ?? describeProgress(task),
    ]),
  )
}

const subjectOf = ({ source, body }: TaskRecord): string =>
  source ?? ('system' in body && body.system !== undefined ? `system ${body.system}` : '')

function describeProgress({ progress, state }: TaskRecord): string {
  if (progress === undefined || state === 'done') return ''
  const { phase, bytes, bytesTotal, files, filesTotal, secondsLeft } = progress
  const share = bytesTotal > 0 ? ` ${Math.floor((100 * bytes) / bytesTotal)} %` : ''
  const left = secondsLeft === null ? '' : `, ${formatDurationMs(secondsLeft * 1000)} left`
  const counted = filesTotal > 0 ? ` ${formatCount(files)}/${formatCount(filesTotal)} files` : ''
  return `${phase ?? ''}${share}${counted} ${formatBytes(bytes)}${left}`.trim()
}

const words: Record<TaskState, string> = {
  waiting: 'waits for its turn, or for the agent',
  running: 'runs',
  done: 'done',
  failed: 'failed',
  cancelled: 'cancelled',
  interrupted: 'interrupted; "tidemark tasks resume" goes on with it',
}

function describeTask(task: TaskRecord): string {
  const { id, kind, state, by, created, began, ended, error, result, log } = task
  const when = (iso: string): string => formatMoment(isoToMoment(iso))
  const lines = [
    `task ${id}: ${kind} ${subjectOf(task)}${task.agent === undefined ? '' : ` on ${task.agent}`}: ${words[state]}`,
    `  asked for by ${by} at ${when(created)}${began === null ? '' : `, begun ${when(began)}`}${ended === null ? '' : `, ended ${when(ended)}`}`,
    ...(state === 'running' ? [`  ${describeProgress(task)}`] : []),
    ...(error === undefined ? [] : [`  ${error.message}`]),
    ...(error?.hint === undefined ? [] : [`  next: ${error.hint}`]),
    ...log.map(({ at, line }) => `  ${when(at)}  ${line}`),
  ]
  const rows = result?.preflight ?? []
  const checks =
    rows.length === 0
      ? ''
      : formatTable(
          ['CHECK', 'VERDICT', ''],
          rows.map((row) => [row.check, row.verdict, row.message]),
        )
  const hints = rows.flatMap(({ check, hint }) => (hint === undefined ? [] : [`${check}: next: ${hint}\n`])).join('')
  const receipt = result?.receipt === undefined ? '' : `${JSON.stringify(result.receipt, undefined, 2)}\n`
  return `${lines.join('\n')}\n${checks}${hints}${receipt}`
}
