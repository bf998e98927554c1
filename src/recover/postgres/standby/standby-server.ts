import { spawn } from 'node:child_process'
import { chownSync, closeSync, existsSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../../base/clock.ts'
import { TidemarkError } from '../../../base/errors.ts'
import { type Lsn, noLsn, parseLsn } from '../../../model/lsn.ts'
import type { ServerUser } from '../place.ts'
import { ownFolder } from '../prepare.ts'
import type { Ask } from '../server.ts'
import type { ServerPrograms } from '../server-programs.ts'

export interface StandbyServerRequest {
  readonly data: string
  readonly owner: ServerUser | undefined
  readonly programs: ServerPrograms
  readonly socketFolder: string
  readonly port: number
  /** Where the server looks for programs. */
  readonly path: string
}

export interface Replay {
  readonly received: Lsn
  readonly replayed: Lsn
  readonly isStandby: boolean
  /** Seconds since the Unix epoch of the last commit that was replayed; undefined while there is none. */
  readonly lastCommit: number | undefined
}

const pollMs = 10
const stopMsMax = 60_000
const logTailLines = 12

/**
 * The stock server of a standby: hot, reachable over its private socket only. It is a process of its own, which outlives this
 * one unless it is stopped, and is found again by its pid file.
 */
export class StandbyServer {
  readonly #request: StandbyServerRequest
  readonly #ask: Ask
  readonly #clock: Clock
  #pid: number
  #logFrom: number

  private constructor(request: StandbyServerRequest, ask: Ask, clock: Clock, pid: number, logFrom: number) {
    this.#request = request
    this.#ask = ask
    this.#clock = clock
    this.#pid = pid
    this.#logFrom = logFrom
  }

  /** Takes over the server that runs on the directory, or starts one. Returns when it answers, or fails with its own words. */
  static async open(
    request: StandbyServerRequest,
    ask: Ask,
    clock: Clock,
    signal: AbortSignal,
  ): Promise<StandbyServer> {
    const running = postmasterOf(request.data)
    const logFrom = existsSync(logOf(request.data)) ? statSync(logOf(request.data)).size : 0
    const server = new StandbyServer(request, ask, clock, running ?? start(request), logFrom)
    await server.#answers(signal)
    return server
  }

  get isRunning(): boolean {
    return isAlive(this.#pid)
  }

  async replay(): Promise<Replay> {
    const [row = []] = await this.#query(
      `SELECT pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), pg_is_in_recovery(),
       extract(epoch FROM pg_last_xact_replay_timestamp())`,
    )
    const [received, replayed, isStandby, lastCommit] = row
    return {
      received: received ? parseLsn(received) : noLsn,
      replayed: replayed ? parseLsn(replayed) : noLsn,
      isStandby: isStandby === 't',
      lastCommit: lastCommit ? Number(lastCommit) : undefined,
    }
  }

  /** As `pg_ctl promote` does it: needs no rights in the database. All WAL that is here is replayed before it happens. */
  promote(): void {
    const { data, owner } = this.#request
    const file = join(data, 'promote')
    writeFileSync(file, '')
    if (owner) chownSync(file, owner.uid, owner.gid)
    process.kill(this.#pid, 'SIGUSR1')
  }

  /** Resolves when it is no standby any more, and again when a transaction has written. */
  async promoted(signal: AbortSignal): Promise<void> {
    for (;;) {
      const { isStandby } = await this.replay()
      if (!isStandby) return
      await this.#pause(signal)
    }
  }

  /** A transaction of its own, which leaves nothing behind. */
  async writes(signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        await this.#query('SELECT txid_current()')
        return
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error
        await this.#pause(signal)
      }
    }
  }

  /** As it was; what it has replayed is kept. */
  async stop(): Promise<void> {
    if (!this.isRunning) return
    process.kill(this.#pid, 'SIGINT')
    const untilMs = this.#clock.monotonicMs() + stopMsMax
    while (this.isRunning) {
      if (this.#clock.monotonicMs() > untilMs) process.kill(this.#pid, 'SIGQUIT')
      await this.#clock.sleep(pollMs)
    }
  }

  /** What the server last said, for whom it did not do as it should. */
  failure(what: string): TidemarkError {
    const lines = this.#said().trimEnd().split('\n').slice(-logTailLines)
    return new TidemarkError('database-refused', {
      message: `the server in ${this.#request.data} ${what}:\n  ${lines.join('\n  ')}`,
      hint: `read ${logOf(this.#request.data)}; once the cause is gone, repeat the command`,
    })
  }

  /** Since it was started or taken over. */
  #said(): string {
    return existsSync(logOf(this.#request.data))
      ? readFileSync(logOf(this.#request.data)).subarray(this.#logFrom).toString('utf8')
      : ''
  }

  #query(text: string): ReturnType<Ask> {
    const { socketFolder, port } = this.#request
    return this.#ask({ socketFolder, port }, text)
  }

  async #answers(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted()
      if (!this.isRunning) throw this.failure('did not start')
      if (/^(?:standby|ready)/.test(stateOf(this.#request.data))) return
      await this.#pause(signal)
    }
  }

  async #pause(signal: AbortSignal): Promise<void> {
    if (!this.isRunning) throw this.failure('ended')
    await this.#clock.sleep(pollMs, signal)
  }
}

const logOf = (data: string): string => join(data, ownFolder, 'server.log')

function start({ data, owner, programs, path }: StandbyServerRequest): number {
  const log = openSync(logOf(data), 'a', 0o600)
  try {
    if (owner) chownSync(logOf(data), owner.uid, owner.gid)
    const server = spawn(join(programs.folder, 'postgres'), ['-D', data], {
      ...(owner ? { uid: owner.uid, gid: owner.gid } : {}),
      cwd: '/',
      detached: true,
      env: { PATH: path, LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', log, log],
    })
    // Told by its end, which is seen.
    server.on('error', () => {})
    server.unref()
    return server.pid ?? 0
  } finally {
    closeSync(log)
  }
}

/** The process that serves the directory; undefined where none does. */
export function postmasterOf(data: string): number | undefined {
  const [pid, folder] = pidFile(data)
  return folder === data && isAlive(Number(pid)) ? Number(pid) : undefined
}

/** The eighth line of the pid file: `starting`, `standby`, `ready`, `stopping`. */
const stateOf = (data: string): string => pidFile(data)[7] ?? ''

function pidFile(data: string): string[] {
  const file = join(data, 'postmaster.pid')
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
}

/** Also false for one that has ended and was not yet waited for. */
function isAlive(pid: number): boolean {
  if (!(pid > 0)) return false
  try {
    return !/^\d+ \(.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}
