import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { Malformed } from '../../../base/bytes.ts'
import { messageOf, systemCode, TidemarkError } from '../../../base/errors.ts'
import { sslRequest } from './messages.ts'
import { type Address, type PostgresTarget, socketPath } from './target.ts'
import { certificateHashOf, startTls } from './tls.ts'

/** Bytes of one read. Larger reads mean fewer calls: this is where a WAL stream's time goes. */
export const readBytesMax = 256 * 1024

export interface OpenSocket {
  readonly socket: Socket
  readonly over: 'tcp' | 'tls' | 'socket'
  readonly certificateHash: Uint8Array | undefined
}

/** `source` holds the bytes during the call only. */
export type Received = (source: Buffer, length: number) => void

/**
 * Opens the way to the server, with TLS as the target asks for it. What arrives goes to `received`, at most
 * `readBytesMax` at a time, once `OpenSocket` has been returned.
 */
export async function openSocket(target: PostgresTarget, received: Received, signal: AbortSignal): Promise<OpenSocket> {
  const { address, tls } = target
  if (address.kind === 'tcp' && tls.mode !== 'disable') {
    const socket = await connectSocket({ ...addressOptions(address), noDelay: true }, address, signal)
    const abort = (): unknown => socket.destroy(asError(signal.reason))
    signal.addEventListener('abort', abort, { once: true })
    try {
      if (await agreesToTls(socket)) {
        const secured = await startTls(socket, address.host, tls)
        secured.on('data', (bytes: Buffer) => received(bytes, bytes.length))
        return { socket: secured, over: 'tls', certificateHash: certificateHashOf(secured) }
      }
    } catch (error) {
      socket.destroy()
      throw error
    } finally {
      signal.removeEventListener('abort', abort)
    }
    socket.destroy()
    if (tls.mode !== 'prefer') {
      throw new TidemarkError('tls-refused', {
        message: `${address.host}:${address.port} does not speak TLS, which sslmode=${tls.mode} asks for`,
        hint: 'switch "ssl" on in postgresql.conf, or use sslmode=disable on a line that nobody can read',
      })
    }
  }
  // Without TLS the bytes come in one reused buffer, past the stream machinery of Node.js.
  const onread = {
    buffer: Buffer.allocUnsafeSlow(readBytesMax),
    callback: (length: number, source: Uint8Array): boolean => {
      received(source as Buffer, length)
      return true
    },
  }
  const socket = await connectSocket({ ...addressOptions(address), noDelay: true, onread }, address, signal)
  return { socket, over: address.kind, certificateHash: undefined }
}

const addressOptions = (address: Address) =>
  address.kind === 'socket' ? { path: socketPath(address) } : { host: address.host, port: address.port }

async function connectSocket(
  options: net.NetConnectOpts & { onread?: net.OnReadOpts },
  address: Address,
  signal: AbortSignal,
): Promise<Socket> {
  signal.throwIfAborted()
  const socket = net.connect(options)
  try {
    await once(socket, 'connect', { signal })
  } catch (error) {
    socket.destroy()
    if (signal.aborted) throw signal.reason
    throw unreachableServer(address, error)
  }
  // An error is followed by 'close', which everything that waits for this socket watches; without a listener it would
  // end the process.
  socket.on('error', () => {})
  socket.setKeepAlive(true, 60_000)
  return socket
}

/** One byte comes back, and nothing may come with it: it would be taken for what is then said under TLS. */
async function agreesToTls(socket: Socket): Promise<boolean> {
  socket.write(sslRequest())
  await Promise.race([
    once(socket, 'readable'),
    once(socket, 'close').then(() => {
      throw new TidemarkError('unreachable', { message: 'the server closed the connection when asked for TLS' })
    }),
  ])
  const answer = socket.read() as Buffer | null
  if (answer?.length === 1 && answer[0] === 0x53) return true
  if (answer?.length === 1 && answer[0] === 0x4e) return false
  throw new Malformed('the answer to a request for TLS is neither yes nor no')
}

function unreachableServer(address: Address, error: unknown): TidemarkError {
  const where = address.kind === 'socket' ? socketPath(address) : `${address.host}:${address.port}`
  const isAbsent = ['ENOENT', 'ECONNREFUSED'].includes(systemCode(error) ?? '')
  return new TidemarkError('unreachable', {
    message: `no PostgreSQL server answers at ${where}: ${messageOf(error)}`,
    hint: isAbsent
      ? 'check that it runs and listens there (listen_addresses, port, unix_socket_directories)'
      : 'check the address and what stands between',
    cause: error,
  })
}

const asError = (reason: unknown): Error => (reason instanceof Error ? reason : new Error(String(reason)))
