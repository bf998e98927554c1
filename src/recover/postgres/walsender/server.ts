import { once } from 'node:events'
import { chmodSync, chownSync, rmSync, statSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { TidemarkError } from '../../../base/errors.ts'
import { type Receiver, type SessionParts, WalSession } from './session.ts'

export interface Walsender extends AsyncDisposable {
  /** The value of `primary_conninfo` that leads here. */
  readonly conninfo: string
  /** Those that stream at the moment. */
  receivers(): Receiver[]
}

/** The longest path that a socket may have. */
export const socketPathBytesMax = 107
/** Part of the socket's name; nothing listens on a port. */
const port = 5432
const sessionsMax = 64

/**
 * Speaks PostgreSQL's streaming replication protocol to whoever can open the socket in `folder`: a stock standby follows it as
 * it would follow its primary. Nobody is asked for a password, so the folder must be closed to others (mode 0700).
 */
export async function startWalsender(folder: string, parts: SessionParts, owner?: Owner): Promise<Walsender> {
  if ((statSync(folder).mode & 0o077) !== 0) {
    throw new TidemarkError('not-allowed', {
      message: `others may enter ${folder}, and whoever opens the socket there gets all data`,
      hint: `close it: chmod 700 ${folder}`,
    })
  }
  const path = join(folder, `.s.PGSQL.${port}`)
  if (Buffer.byteLength(path) > socketPathBytesMax) {
    throw new TidemarkError('bad-request', {
      message: `${path} is too long for a socket: ${socketPathBytesMax} bytes at most`,
      hint: 'name a directory with a shorter path',
    })
  }
  const stop = new AbortController()
  const sessions = new Map<WalSession, Promise<void>>()
  const server = createServer((socket: Socket) => {
    if (sessions.size >= sessionsMax) return void socket.destroy()
    const session = new WalSession(socket, parts)
    sessions.set(
      session,
      session.serve(stop.signal).finally(() => sessions.delete(session)),
    )
  })
  // Whoever works on the folder holds its lock, so a socket that is there is a dead one's.
  rmSync(path, { force: true })
  server.listen(path)
  await once(server, 'listening')
  chmodSync(path, 0o600)
  if (owner) chownSync(path, owner.uid, owner.gid)
  return {
    conninfo: `host=${quoted(folder)} port=${port} user=tidemark`,
    receivers: () => [...sessions.keys()].map(({ receiver }) => receiver).filter((one) => one !== undefined),
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      stop.abort(new Error('the walsender is closing'))
      await Promise.all(sessions.values())
      await closed
    },
  }
}

export interface Owner {
  readonly uid: number
  readonly gid: number
}

const quoted = (value: string): string => `'${value.replaceAll(/[\\']/g, '\\$&')}'`
