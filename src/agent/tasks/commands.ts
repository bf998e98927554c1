import type { TaskWork } from '../../wire/orders.ts'

/** The command lines that do a task, one after the other; `step` is that of a restore. */
export interface TaskCommand {
  readonly args: readonly string[]
  readonly step?: number
  /** What goes before its phase, where there are several. */
  readonly title?: string
}

/** Values go with their options in one word, so that none is taken for an option. */
export function commandsOf(work: TaskWork, isResumed: boolean): TaskCommand[] {
  switch (work.kind) {
    case 'restore':
    case 'preflight': {
      const { steps, paths, start, isInPlace } = work
      return steps.map(({ source, kind, at, to }, step) => ({
        step,
        ...(steps.length === 1 ? {} : { title: `${step + 1}/${steps.length} ${source}` }),
        args: [
          'restore',
          source,
          `--at=${at}`,
          `--to=${to}`,
          '--json',
          ...paths.map((path) => `--path=${path}`),
          ...(isInPlace ? ['--in-place'] : []),
          // Without a server that is started now, WAL would be asked for when this agent may read it no more.
          ...(kind === 'postgres' ? (start ? ['--start'] : ['--wal=all']) : []),
          ...(work.kind === 'preflight' ? ['--preflight'] : isResumed ? ['--resume'] : []),
        ],
      }))
    }
    case 'verify':
      return [{ args: ['verify', work.source, `--at=${work.at}`, '--json'] }]
    case 'discover':
      return [{ args: ['agent', 'discover', '--json'] }]
  }
}
