import { once } from 'node:events'
import { chmod, lstat, rename, rm } from 'node:fs/promises'
import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import { isSystemError, messageOf, systemCode, TidemarkError } from '../base/errors.ts'
import type { Export } from './export.ts'
import { HeldMemory } from './held-memory.ts'
import { acceptedLine, lineOf } from './line.ts'
import { LiveSockets } from './live-sockets.ts'
import { type NbdConnection, type NbdServing, serveLine } from './serve.ts'

/** Connections of one listener at a time; what one may hold is bounded in transmission.ts, what all may in held-memory.ts. */
export const connectionsMax = 64
/** Of a Unix socket, as Linux has it. */
const pathBytesMax = 107

/** A place where exports are served. Disposing shuts every connection down, as `NbdConnection.shutdown` says, and the place. */
export interface NbdListener extends AsyncDisposable {
  /** Of a TCP socket; 0 otherwise. */
  readonly port: number
  readonly connections: ReadonlySet<NbdConnection>
  /** Of the connections; for a watchdog in another thread. */
  readonly live: LiveSockets
}

/**
 * Serves at a Unix socket that only this user may use. A socket that a dead server has left is replaced; where one answers,
 * this is `already-running`.
 */
export async function listenUnix(
  { path }: { readonly path: string },
  exports: readonly Export[],
  serving: NbdServing,
): Promise<NbdListener> {
  // First under another name: nobody may connect before the mode is right, and replacing a dead socket is one step.
  const early = `${path}.new`
  if (Buffer.byteLength(early) > pathBytesMax)
    throw new TidemarkError('bad-request', {
      message: `the path of a socket has at most ${pathBytesMax} bytes, with ".new" behind it: ${path}`,
      hint: 'choose a shorter directory',
    })
  await refuseLive(path)
  await rm(early, { force: true })
  const listening = new Listening(exports, serving)
  await listening.open({ path: early }, path)
  try {
    await chmod(early, 0o600)
    await rename(early, path)
  } catch (error) {
    await listening[Symbol.asyncDispose]()
    throw error
  }
  listening.onClosing(() => rm(path, { force: true }))
  return listening
}

/** Serves at a TCP port. Without TLS only on this machine's own addresses, since NBD has nothing else to know a client by. */
export async function listenTcp(
  { host, port }: { readonly host: string; readonly port: number },
  exports: readonly Export[],
  serving: NbdServing,
): Promise<NbdListener> {
  if (serving.tls === undefined && !isLoopback(host))
    throw new TidemarkError('bad-request', {
      message: `without TLS everybody who reaches ${host}:${port} could read and write`,
      hint: 'give a certificate and a key, or listen on 127.0.0.1 or a Unix socket',
    })
  const listening = new Listening(exports, serving)
  await listening.open({ host, port }, `${host}:${port}`)
  return listening
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)

class Listening implements NbdListener {
  readonly connections = new Set<NbdConnection>()
  readonly live = new LiveSockets(connectionsMax)
  readonly #server: Server
  #closing: () => Promise<void> = () => Promise.resolve()

  constructor(exports: readonly Export[], { memory = new HeldMemory(), ...more }: NbdServing) {
    const serving = { ...more, memory }
    // TLS takes bytes from a socket in its own way.
    const isDirect = serving.tls === undefined
    this.#server = net.createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, pauseOnConnect: isDirect })
    this.#server.on('connection', (accepted: Socket) => {
      if (this.connections.size >= connectionsMax) {
        serving.noted?.(`refused a connection: there are ${connectionsMax} already`)
        accepted.destroy()
        return
      }
      const line = isDirect ? acceptedLine(accepted) : lineOf(accepted)
      this.live.add(line.socket)
      const connection = serveLine(line, exports, serving)
      this.connections.add(connection)
      void connection.closed.then(() => this.connections.delete(connection))
    })
  }

  get port(): number {
    const address = this.#server.address() as AddressInfo | string | null
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  async open(at: net.ListenOptions, name: string): Promise<void> {
    this.#server.listen(at)
    await once(this.#server, 'listening').catch((error: unknown) => {
      throw new TidemarkError(systemCode(error) === 'EADDRINUSE' ? 'already-running' : 'unusable-platform', {
        message: `cannot listen on ${name}: ${messageOf(error)}`,
        hint: 'choose another place, or stop what listens there',
        cause: error,
      })
    })
  }

  onClosing(act: () => Promise<void>): void {
    this.#closing = act
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    await Promise.all([...[...this.connections].map((connection) => connection.shutdown()), this.#closing(), closed])
  }
}

/** A server that lives answers at its socket; of a dead one, the system refuses on its behalf. */
async function refuseLive(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  })
  if (found === undefined) return
  if (!found.isSocket())
    throw new TidemarkError('already-exists', {
      message: `${path} is there and is no socket`,
      hint: 'choose another path, or move it away',
    })
  const socket = net.connect(path)
  try {
    await once(socket, 'connect')
  } catch (error) {
    if (isSystemError(error, 'ECONNREFUSED', 'ENOENT')) return
    throw error
  } finally {
    socket.destroy()
  }
  throw new TidemarkError('already-running', {
    message: `another server answers at ${path}`,
    hint: 'stop it, or choose another path',
  })
}
