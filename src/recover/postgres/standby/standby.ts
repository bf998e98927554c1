import { closeSync, existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../../base/clock.ts'
import { TidemarkError } from '../../../base/errors.ts'
import type { Random } from '../../../base/random.ts'
import { tryLock } from '../../../base/syscalls/lock.ts'
import type { Lsn, Timeline } from '../../../model/lsn.ts'
import { moment, type Moment } from '../../../model/moment.ts'
import { ownFolder } from '../prepare.ts'
import type { Ask } from '../server.ts'
import { findServer } from '../server-programs.ts'
import { overrule } from '../settings.ts'
import type { ServerUser } from '../place.ts'
import { JournalWal, type JournalWalParts } from '../walsender/journal-wal.ts'
import { startWalsender, type Walsender } from '../walsender/server.ts'
import {
  feedFolder,
  lockFile,
  type MakeParts,
  makeStandby,
  readStandby,
  socketFolder,
  type StandbyNote,
} from './directory.ts'
import { postmasterOf, StandbyServer } from './standby-server.ts'

export interface StandbyRequest {
  /** Id of the source. */
  readonly source: string
  readonly data: string
  readonly owner: ServerUser | undefined
  readonly port: number
  readonly listen: string
  /** Folder of the server's programs, where it was named. */
  readonly programs: string | undefined
  readonly path: string
}

export interface StandbyParts extends MakeParts, Pick<JournalWalParts, 'follow' | 'away'> {
  readonly clock: Clock
  readonly random: Random
  readonly ask: Ask
}

export interface StandbyStatus {
  readonly timeline: Timeline
  /** End of the WAL that the vault has, and of what the standby has received and replayed of it. */
  readonly durable: Lsn
  readonly received: Lsn
  readonly replayed: Lsn
  /** Bytes that the vault has and the standby has not replayed. */
  readonly lagBytes: number
  /** Age of the last commit replayed; 0 where nothing is left to replay. */
  readonly lagMs: number | undefined
  readonly isConnected: boolean
}

/** When each step of a promotion was done, and what it took since it was asked for. */
export interface Promotion {
  readonly asked: Moment
  readonly replayed: Moment
  readonly promoted: Moment
  readonly written: Moment
  readonly replayMs: number
  readonly promoteMs: number
  readonly writeMs: number
  /** Up to here the vault had WAL, all of which is in it. */
  readonly end: Lsn
  readonly timeline: Timeline
  readonly socketFolder: string
  readonly port: number
}

const pollMs = 10
/** A tail that is no whole record is never replayed. */
const standsMs = 100

/**
 * A standby that is fed from the vault's journal. Opened on an empty directory it is made from the newest baseline, else it
 * goes on where it was. Disposing stops feeding and the server, unless it was promoted.
 */
export class Standby implements AsyncDisposable {
  readonly note: StandbyNote
  readonly #request: StandbyRequest
  readonly #parts: StandbyParts
  readonly #wal: JournalWal
  readonly #walsender: Walsender
  readonly #server: StandbyServer
  readonly #lock: number
  #isPromoted = false

  private constructor(
    request: StandbyRequest,
    parts: StandbyParts,
    opened: { note: StandbyNote; lock: number; wal: JournalWal; walsender: Walsender; server: StandbyServer },
  ) {
    this.#request = request
    this.#parts = parts
    this.note = opened.note
    this.#lock = opened.lock
    this.#wal = opened.wal
    this.#walsender = opened.walsender
    this.#server = opened.server
  }

  static async open(request: StandbyRequest, parts: StandbyParts, signal: AbortSignal): Promise<Standby> {
    const { data, owner } = request
    const note = await prepared(request, parts, signal)
    const programs = findServer(Math.floor(note.version / 10_000), request.programs, request.path)
    await using held = new AsyncDisposableStack()
    const lock = takeLock(data)
    held.defer(() => closeSync(lock))
    const wal = held.use(await JournalWal.open(parts))
    if (wal.systemId !== note.systemId) throw otherCluster(data, note.systemId, wal.systemId)
    const session = { source: wal, clock: parts.clock, random: parts.random }
    const walsender = held.use(await startWalsender(feedFolder(data), session, owner))
    if (postmasterOf(data) === undefined) overrule(data, { primary_conninfo: walsender.conninfo })
    const { port } = note
    const serverRequest = { data, owner, programs, socketFolder: socketFolder(data), port, path: request.path }
    const server = await StandbyServer.open(serverRequest, parts.ask, parts.clock, signal)
    held.move()
    return new Standby(request, parts, { note, lock, wal, walsender, server })
  }

  get conninfo(): string {
    return this.#walsender.conninfo
  }

  async status(): Promise<StandbyStatus> {
    if (!this.#server.isRunning) throw this.#server.failure('ended')
    const { received, replayed, lastCommit } = await this.#server.replay()
    const { timeline, end } = this.#wal.newest()
    const now = this.#parts.clock.now()
    const lagBytes = Math.max(0, end - replayed)
    const lagMs =
      lagBytes === 0 ? 0 : lastCommit === undefined ? undefined : Math.max(0, now / 1000 - lastCommit * 1000)
    const isConnected = this.#walsender.receivers().length > 0
    return { timeline, durable: end, received, replayed, lagBytes, lagMs, isConnected }
  }

  /** Makes it a primary with everything that is durable at the vault now. */
  async promote(signal: AbortSignal): Promise<Promotion> {
    const { clock } = this.#parts
    const asked = clock.now()
    const startMs = clock.monotonicMs()
    const since = (): number => clock.monotonicMs() - startMs
    const { timeline, end } = await this.#wal.freeze(signal)
    await this.#replayAll(end, signal)
    const [replayed, replayMs] = [clock.now(), since()]
    this.#isPromoted = true
    this.#server.promote()
    await this.#server.promoted(signal)
    const [promoted, promoteMs] = [clock.now(), since()]
    await this.#server.writes(signal)
    const { port } = this.note
    return {
      asked: moment(asked),
      replayed: moment(replayed),
      promoted: moment(promoted),
      written: moment(clock.now()),
      replayMs,
      promoteMs,
      writeMs: since(),
      end,
      timeline,
      socketFolder: socketFolder(this.#request.data),
      port,
    }
  }

  /** Until all has been received, and replayed as far as it consists of whole records. */
  async #replayAll(end: Lsn, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    let before = { at: 0, sinceMs: clock.monotonicMs() }
    for (;;) {
      const { received, replayed } = await this.#server.replay()
      if (replayed >= end) return
      if (received < end || replayed !== before.at) before = { at: replayed, sinceMs: clock.monotonicMs() }
      else if (clock.monotonicMs() - before.sinceMs >= standsMs) return
      if (!this.#server.isRunning) throw this.#server.failure('ended')
      await clock.sleep(pollMs, signal)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (!this.#isPromoted) await this.#server.stop()
      await this.#walsender[Symbol.asyncDispose]()
      await this.#wal[Symbol.asyncDispose]()
    } finally {
      closeSync(this.#lock)
    }
  }
}

/** The directory as a standby of this source, made if there is nothing in it. */
async function prepared(request: StandbyRequest, parts: StandbyParts, signal: AbortSignal): Promise<StandbyNote> {
  const { data, source } = request
  const state = readStandby(data)
  switch (state.kind) {
    case 'promoted':
      throw new TidemarkError('target-not-empty', {
        message: `${data} was promoted: it is a server of its own, and follows nobody`,
        hint: 'protect it as a source of its own, and make a new standby in an empty directory',
      })
    case 'standby':
      if (state.source === source) return state
      throw new TidemarkError('target-not-empty', {
        message: `${data} is a standby of another source (${state.source})`,
        hint: 'name that source, or an empty directory',
      })
    case 'absent': {
      if (existsSync(join(data, 'PG_VERSION')) && existsSync(join(data, ownFolder)) && postmasterOf(data) !== undefined)
        throw new TidemarkError('already-running', {
          message: `a server runs on ${data}`,
          hint: 'name an empty directory',
        })
      const libraryFolders = (version: number): readonly string[] =>
        findServer(Math.floor(version / 10_000), request.programs, request.path).libraryFolders
      return await makeStandby({ ...request, libraryFolders }, parts, signal)
    }
  }
}

function takeLock(data: string): number {
  const descriptor = openSync(lockFile(data), 'a', 0o600)
  if (tryLock(descriptor)) return descriptor
  closeSync(descriptor)
  throw new TidemarkError('already-running', {
    message: `another process feeds the standby in ${data}`,
    hint: 'stop it first; to promote it, add --promote to this command',
  })
}

const otherCluster = (data: string, was: string, is: string): TidemarkError =>
  new TidemarkError('database-log-gap', {
    message: `${data} is a copy of system ${was}, and the source is system ${is} now`,
    hint: 'make the standby anew in an empty directory',
  })
