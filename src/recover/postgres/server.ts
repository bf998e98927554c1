import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { isCode, TidemarkError } from '../../base/errors.ts'
import { type Lsn, noLsn, parseLsn } from '../../model/lsn.ts'
import type { Place } from './place.ts'
import type { ServerPrograms } from './server-programs.ts'
import { overrule } from './settings.ts'

/** Asks a server one thing over its socket, as a superuser: the rows of the last command of `text`. */
export type Ask = (
  server: { readonly socketFolder: string; readonly port: number; readonly database?: string },
  text: string,
) => Promise<readonly (readonly (string | null)[])[]>

export interface ServerRequest {
  readonly place: Place
  readonly programs: ServerPrograms
  readonly socketFolder: string
  readonly port: number
  /** What the server says is appended to this file. */
  readonly log: string
  readonly path: string
}

const pollMs = 50
const stopMsMax = 120_000
const logTailLines = 12
/** Each raises one limit of the server that the WAL has shown to be too small. */
const startsMax = 10

export type Reached = 'open' | 'paused'

/** A restored server that this process has started. It outlives the process unless it is stopped. */
export class RestoredServer {
  readonly #request: ServerRequest
  readonly #ask: Ask
  readonly #clock: Clock
  #server: ChildProcess | undefined
  /** Where what this start has said begins in the log. */
  #logFrom = 0

  constructor(request: ServerRequest, ask: Ask, clock: Clock) {
    this.#request = request
    this.#ask = ask
    this.#clock = clock
  }

  ask(text: string, database?: string): ReturnType<Ask> {
    const { socketFolder, port } = this.#request
    return this.#ask({ socketFolder, port, ...(database === undefined ? {} : { database }) }, text)
  }

  /** Starts it and waits until it has recovered: open for writing, or paused at the target where `pause` is set. */
  async recover(pause: boolean, signal: AbortSignal): Promise<Reached> {
    for (let starts = 1; ; starts++) {
      this.#start()
      try {
        const reached = await this.#reached(pause, signal)
        if (reached !== undefined) {
          this.#server?.unref()
          return reached
        }
      } catch (error) {
        await this.stop()
        throw error
      }
      const more = limitsIn(this.#said())
      if (more === undefined || starts === startsMax) throw this.#failure()
      await this.stop()
      overrule(this.#request.place.data, more)
    }
  }

  /** What has been replayed last. */
  async replayed(): Promise<Lsn> {
    const [row] = await this.ask('SELECT pg_last_wal_replay_lsn()')
    return row?.[0] ? parseLsn(row[0]) : noLsn
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined || hasEnded(server)) return
    server.kill('SIGINT')
    const untilMs = this.#clock.monotonicMs() + stopMsMax
    while (!hasEnded(server)) {
      if (this.#clock.monotonicMs() > untilMs) server.kill('SIGQUIT')
      await this.#clock.sleep(pollMs)
    }
  }

  #start(): void {
    const { place, programs, log, path } = this.#request
    this.#logFrom = existsSync(log) ? statSync(log).size : 0
    const descriptor = openSync(log, 'a', 0o600)
    if (place.owner) chownSync(log, place.owner.uid, place.owner.gid)
    const { owner } = place
    this.#server = spawn(join(programs.folder, 'postgres'), ['-D', place.data], {
      ...(owner ? { uid: owner.uid, gid: owner.gid } : {}),
      cwd: '/',
      detached: true,
      env: { PATH: path, LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', descriptor, descriptor],
    })
    closeSync(descriptor)
    // Told by its end, which the loop sees.
    this.#server.on('error', () => {})
  }

  /** Undefined where it ended, or cannot go on, for want of larger limits. */
  async #reached(pause: boolean, signal: AbortSignal): Promise<Reached | undefined> {
    const server = this.#server as ChildProcess
    for (;;) {
      signal.throwIfAborted()
      if (server.pid === undefined || hasEnded(server)) return this.#orFailure()
      if (this.#isReady(server.pid)) {
        const state = pause ? await this.#recoveryState() : 'open'
        if (state === 'paused' && limitsIn(this.#said()) !== undefined) return undefined
        if (state !== 'replaying') return state
      }
      await this.#clock.sleep(pollMs)
    }
  }

  #orFailure(): undefined {
    if (limitsIn(this.#said()) === undefined) throw this.#failure()
    return undefined
  }

  async #recoveryState(): Promise<Reached | 'replaying'> {
    try {
      const [row] = await this.ask('SELECT pg_is_in_recovery(), pg_is_in_recovery() AND pg_is_wal_replay_paused()')
      return row?.[0] === 'f' ? 'open' : row?.[1] === 't' ? 'paused' : 'replaying'
    } catch (error) {
      // It is on its way down: its end is seen next.
      if (!isCode(error, 'unreachable')) throw error
      return 'replaying'
    }
  }

  /** Whether it lets anyone in. The eighth line of postmaster.pid says so, also while it recovers as a hot standby. */
  #isReady(pid: number): boolean {
    const file = join(this.#request.place.data, 'postmaster.pid')
    const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
    return lines[0] === String(pid) && lines[7]?.trim() === 'ready'
  }

  /** Since the last start. */
  #said(): string {
    const { log } = this.#request
    return existsSync(log) ? readFileSync(log).subarray(this.#logFrom).toString('utf8') : ''
  }

  #failure(): TidemarkError {
    const { log, place } = this.#request
    const lines = this.#said().trimEnd().split('\n').slice(-logTailLines)
    const hint = hints.find(([said]) => said.test(this.#said()))?.[1]
    return new TidemarkError('database-refused', {
      message: `the server in ${place.data} did not recover:\n  ${lines.join('\n  ')}`,
      hint:
        hint ??
        `read ${log}; once the cause is gone, start the server again with: ${this.#request.programs.folder}/pg_ctl -D ${place.data} start`,
    })
  }
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null

const hints: readonly (readonly [RegExp, string])[] = [
  [/tidemark: /, 'see that the vault answers ("tidemark status"), then restore again into an empty directory'],
  [
    /could not load library|could not access file/,
    'install the extension it names here, or leave it out of postgresql.conf',
  ],
  [/could not map anonymous shared memory/, 'lower shared_buffers in postgresql.auto.conf'],
  [
    /before configured recovery target was reached/,
    'restore again; if it happens again, the WAL at the vault is damaged: run "tidemark verify" there',
  ],
]

/** What the log says that a limit has to be, for all that it names. */
export function limitsIn(log: string): Record<string, number> | undefined {
  const found: Record<string, number> = {}
  // 14 and newer: "... where its value was 300."; before: "(its value was 300)".
  const lower =
    /(max_\w+) = \d+ is a lower setting than on the (?:primary|master) server[,\s(]+(?:where )?its value was (\d+)/g
  for (const [, name = '', value] of log.matchAll(lower)) found[name] = Number(value)
  const prepared = /maximum number of prepared transactions reached[\s\S]*?currently (\d+)/.exec(log)
  if (prepared) found['max_prepared_transactions'] = Math.max(64, Number(prepared[1]) * 2)
  return Object.keys(found).length > 0 ? found : undefined
}
