import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'

/** Everything a command may touch; built once in main.ts. */
export interface Parts {
  readonly clock: Clock
  readonly random: Random
  readonly out: Terminal
  readonly err: Terminal
  /** TIDEMARK_* variables and HOME. */
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly isRoot: boolean
  /** Aborts at SIGINT and SIGTERM. */
  readonly signal: AbortSignal
  /** Decides the exit status where a command ends without throwing. */
  exitWith(status: ExitStatus): void
}

export interface Terminal {
  write(text: string | Uint8Array): void
  readonly isTerminal: boolean
  /** Resolves when what was written has left, for bulk output. */
  drained(): Promise<void>
}

export const exitStatus = {
  done: 0,
  failed: 1,
  usage: 2,
  interrupted: 3,
  notVerified: 4,
  unreachable: 5,
  /** Of "wal get": PostgreSQL ends a recovery early at a status below 126, and stops at one above 125. */
  recoveryMustStop: 126,
} as const
export type ExitStatus = (typeof exitStatus)[keyof typeof exitStatus]

export const exitStatusHelp = `
Exit status: 0 done · 1 failed · 2 wrong usage · 3 interrupted, can be resumed · 4 verification failed ·
             5 no vault or agent could be reached`
