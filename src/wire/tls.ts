import { constants, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { messageOf, systemCode, TidemarkError } from '../base/errors.ts'
import type { Moment } from '../model/moment.ts'
import type { Id } from '../model/source.ts'
import type { Dialled } from './ports.ts'
import type { VaultCredentials } from './authority.ts'
import { Conversation } from './conversation.ts'
import { type Link, lingerMs } from './link.ts'
import { clientOf, type Credential, expiresAt } from './pki.ts'

export const linkProtocol = 'tidemark/1'
export const httpProtocol = 'http/1.1'
export const handshakeMsMax = 10_000
/** Connections of one vault at a time, of any kind. */
export const connectionsMax = 4096

/** What TLS is used for here: version 1.3 alone, and no resumption, so that every connection proves who it is. */
const common = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const

/** Who a certificate of this vault is for. */
export type Role = 'agent' | 'console'

export interface Listening {
  readonly host: string
  readonly port: number
  readonly credentials: VaultCredentials
  /** What is enrolled and not revoked under that id, and has this certificate; asked for every connection. */
  readonly admits: (id: Id, serial: string) => Role | undefined
  /** An agent's connection for the link. What is returned is waited for when listening ends. */
  readonly link: (link: Link, peer: Dialled) => Promise<void>
  /** A connection for HTTP, of an agent, a console or a stranger. */
  readonly http: (socket: tls.TLSSocket, peer: { readonly role: Role; readonly id: Id } | undefined) => void
  /** Told of connections that came to nothing, for the log. */
  readonly refused?: (from: string, reason: string) => void
  readonly clock: Clock
  /** Instead of `handshakeMsMax`. */
  readonly handshakeMs?: number
}

export interface Listener extends AsyncDisposable {
  readonly port: number
}

/** The vault's port: the link and HTTP over TLS, told apart by ALPN. Disposing ends all connections. */
export async function listenTls(listening: Listening): Promise<Listener> {
  const { credentials, host, port, clock } = listening
  const sockets = new Set<tls.TLSSocket>()
  const links = new Set<Promise<void>>()
  const server = tls.createServer({
    ...common,
    key: credentials.server.key,
    cert: credentials.server.certificate + credentials.authority.certificate,
    ca: credentials.authority.certificate,
    ALPNProtocols: [linkProtocol, httpProtocol],
    requestCert: true,
    rejectUnauthorized: false,
    handshakeTimeout: listening.handshakeMs ?? handshakeMsMax,
    noDelay: true,
    keepAlive: true,
  })
  server.maxConnections = connectionsMax
  server.on('tlsClientError', (error, socket) => {
    listening.refused?.(String(socket.remoteAddress), error.message)
    socket.destroy()
  })
  server.on('secureConnection', (socket: tls.TLSSocket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    const from = String(socket.remoteAddress)
    const known = identify(socket, listening)
    if (socket.alpnProtocol !== linkProtocol) {
      if (known instanceof TidemarkError && known.code !== 'tls-refused') listening.refused?.(from, known.message)
      return listening.http(socket, known instanceof TidemarkError ? undefined : known)
    }
    const link = tlsLink(socket)
    const agent = known instanceof TidemarkError || known.role === 'agent' ? known : noAgent()
    if (agent instanceof TidemarkError) listening.refused?.(from, agent.message)
    const serving =
      agent instanceof TidemarkError
        ? new Conversation(link, clock).refuse(agent)
        : listening.link(link, { agent: agent.id, address: from, certificateExpires: agent.certificateExpires })
    links.add(serving)
    void serving.finally(() => links.delete(serving))
  })
  server.listen(port, host)
  await once(server, 'listening').catch((error: unknown) => {
    throw cannotListen(error, host, port)
  })
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      await Promise.race([Promise.allSettled(links), clock.sleep(lingerMs)])
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Who this connection has proved to be, or why it has not. */
function identify(
  socket: tls.TLSSocket,
  { admits, clock }: Listening,
): { readonly role: Role; readonly id: Id; readonly certificateExpires: Moment } | TidemarkError {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return stranger('no certificate was shown', 'enrol with "tidemark agent join"')
  // With rejectUnauthorized off, Node.js tells here why the certificate would have been rejected.
  const doubt = socket.authorizationError as unknown
  const id = clientOf(certificate)
  const isOver = expiresAt(certificate) <= clock.now()
  if (isOver || doubt === 'CERT_HAS_EXPIRED') {
    return stranger(
      `the certificate of the agent has expired (${certificate.validTo})`,
      'it was away for longer than a certificate lives: stop it and run "tidemark agent join" again in its directory, with a new token',
    )
  }
  if (!socket.authorized || id === undefined) {
    return stranger(
      `the certificate of the agent is not one of this vault (${messageOf(doubt ?? 'not for a client')})`,
      'enrol the agent with this vault: "tidemark agent join"',
    )
  }
  const role = admits(id, certificate.serialNumber)
  if (role !== undefined) return { role, id, certificateExpires: expiresAt(certificate) }
  return new TidemarkError('not-allowed', {
    message: 'this agent has been revoked, or replaced by another machine',
    hint: 'if that was a mistake, enrol the server anew, in another directory, with "tidemark agent join"',
  })
}

const noAgent = (): TidemarkError =>
  new TidemarkError('not-allowed', {
    message: 'a console captures nothing',
    hint: 'enrol the server as an agent with "tidemark agent join"',
  })

const stranger = (message: string, hint: string): TidemarkError => new TidemarkError('tls-refused', { message, hint })

const cannotListen = (error: unknown, host: string, port: number): TidemarkError =>
  new TidemarkError(systemCode(error) === 'EADDRINUSE' ? 'already-running' : 'unusable-platform', {
    message: `cannot listen on ${host}:${port}: ${messageOf(error)}`,
    hint: 'choose another address or port, or stop what listens there',
    cause: error,
  })

export interface Dialling {
  readonly host: string
  readonly port: number
  /** The certificate of the vault's authority, PEM: who shows a server certificate of it is the vault. */
  readonly authority: string
  readonly credential: Credential
}

/** The agent's way to the vault's link. */
export async function dialLink(dialling: Dialling, signal: AbortSignal): Promise<Link> {
  const socket = await dialTls({ ...tlsOptions(dialling), ALPNProtocols: [linkProtocol] }, signal)
  if (socket.alpnProtocol === linkProtocol) return tlsLink(socket)
  socket.destroy()
  throw new TidemarkError('version-refused', {
    message: `${dialling.host}:${dialling.port} does not speak the link`,
    hint: 'check that the address is the vault’s and that the vault is of a release that fits',
  })
}

/** For TLS connections that trust the vault's authority alone. The address does not matter, the key does. */
export const tlsOptions = ({
  host,
  port,
  authority,
  credential,
}: Omit<Dialling, 'credential'> & { readonly credential?: Credential | undefined }) => ({
  ...common,
  host,
  port,
  ca: authority,
  ...(credential ? { cert: credential.certificate, key: credential.key } : {}),
  checkServerIdentity: () => undefined,
})

/**
 * The certificate of the vault's authority at an address, when its public key is the one pinned. Nothing is sent to a
 * server that does not prove it by its chain.
 */
export async function fetchAuthority(
  { host, port, fingerprint }: { readonly host: string; readonly port: number; readonly fingerprint: Uint8Array },
  fingerprintOf: (certificate: X509Certificate) => Uint8Array,
  signal: AbortSignal,
): Promise<string> {
  const socket = await dialTls(
    { ...common, host, port, rejectUnauthorized: false, ALPNProtocols: [httpProtocol] },
    signal,
  )
  try {
    for (let at = socket.getPeerX509Certificate(), depth = 0; at && depth < 8; at = at.issuerCertificate, depth++) {
      if (Buffer.compare(fingerprintOf(at), fingerprint) === 0) return `${at.toString()}`
    }
  } finally {
    socket.destroy()
  }
  throw new TidemarkError('tls-refused', {
    message: `the server at ${host}:${port} is not the vault that the token was made by`,
    hint: 'check the address; if it is right, something between here and the vault answers in its place',
  })
}

async function dialTls(options: tls.ConnectionOptions, signal: AbortSignal): Promise<tls.TLSSocket> {
  signal.throwIfAborted()
  const socket = tls.connect(options)
  socket.setNoDelay(true).setKeepAlive(true)
  const late = AbortSignal.any([signal, AbortSignal.timeout(handshakeMsMax)])
  try {
    await once(socket, 'secureConnect', { signal: late })
    return socket
  } catch (error) {
    socket.once('error', () => undefined)
    socket.destroy()
    signal.throwIfAborted()
    throw unreachableOr(error, `${options.host}:${options.port}`)
  }
}

/** A failure to connect, as something to act on. */
export function unreachableOr(error: unknown, address: string): TidemarkError {
  const code = systemCode(error) ?? ''
  if (/^(CERT_|ERR_SSL|ERR_TLS|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|INVALID_PURPOSE|EPROTO)/.test(code)) {
    return new TidemarkError('tls-refused', {
      message: `the server at ${address} has not proved to be the vault: ${messageOf(error)}`,
      hint: 'check the address; after a vault was made anew, enrol this agent again with "tidemark agent join"',
      cause: error,
    })
  }
  const isLate = error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError')
  return new TidemarkError('unreachable', {
    message: `${address} cannot be reached: ${isLate ? `no answer within ${handshakeMsMax / 1000} s` : messageOf(error)}`,
    hint: 'check that the vault runs and that no firewall is in the way; it is tried again by itself',
    cause: error,
  })
}

/** A TLS connection as a Link. */
function tlsLink(socket: tls.TLSSocket): Link {
  return new TlsLink(socket)
}

/** Pieces that have arrived and are not asked for yet; beyond this the socket is not read. */
const arrivedBytesMax = 1024 * 1024

class TlsLink implements Link {
  readonly received: AsyncIterable<Uint8Array>
  readonly #socket: tls.TLSSocket
  readonly #arrived: Buffer[] = []
  #arrivedBytes = 0
  #hasEnded = false
  #isClosing = false
  #failure: TidemarkError | undefined
  #reading: (() => void) | undefined
  #waitingForRoom: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = []

  constructor(socket: tls.TLSSocket) {
    this.#socket = socket
    this.received = { [Symbol.asyncIterator]: () => ({ next: () => this.#next() }) }
    socket.on('data', (piece: Buffer) => {
      if (this.#isClosing) return
      this.#arrived.push(piece)
      this.#arrivedBytes += piece.length
      if (this.#arrivedBytes > arrivedBytesMax) socket.pause()
      this.#reading?.()
    })
    socket.on('end', () => {
      this.#hasEnded = true
      this.#reading?.()
    })
    socket.on('error', (error) => (this.#failure ??= gone(error.message, error)))
    socket.on('drain', () => this.#settle(({ resolve }) => resolve()))
    socket.on('close', () => {
      const failure = (this.#failure ??= gone('closed'))
      this.#reading?.()
      this.#settle(({ reject }) => reject(failure))
    })
  }

  /** The parts go to OpenSSL together, without being copied into one. */
  send(parts: readonly Uint8Array[]): Promise<void> {
    const socket = this.#socket
    if (socket.destroyed || socket.writableEnded) return Promise.reject(this.#failure ?? gone('closed'))
    socket.cork()
    for (const part of parts) socket.write(part)
    socket.uncork()
    if (!socket.writableNeedDrain) return Promise.resolve()
    return new Promise((resolve, reject) => this.#waitingForRoom.push({ resolve, reject }))
  }

  destroy(reason: string): void {
    this.#failure ??= gone(reason)
    this.#socket.destroy()
  }

  /**
   * What the peer still sends is read and thrown away: left unread, the system would answer it with a reset, which
   * overtakes what we sent last.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const socket = this.#socket
    if (socket.destroyed) return
    this.#isClosing = true
    this.#arrived.length = 0
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    if (this.#hasEnded) socket.end(() => socket.destroy())
    else socket.once('end', () => socket.destroy()).end()
    socket.resume()
    const timer = setTimeout(() => socket.destroy(), lingerMs)
    await closed
    clearTimeout(timer)
  }

  #settle(each: (waiting: { readonly resolve: () => void; readonly reject: (error: Error) => void }) => void): void {
    const waiting = this.#waitingForRoom
    this.#waitingForRoom = []
    for (const one of waiting) each(one)
  }

  /** Pieces are small (a TLS record), so they are handed on without the turns of a generator. */
  #next(): Promise<IteratorResult<Uint8Array>> {
    const piece = this.#arrived.shift()
    if (piece) {
      this.#arrivedBytes -= piece.length
      if (this.#arrivedBytes <= arrivedBytesMax && this.#socket.isPaused()) this.#socket.resume()
      return Promise.resolve({ value: piece, done: false })
    }
    if (this.#hasEnded) return Promise.resolve({ value: undefined, done: true })
    if (this.#socket.destroyed) return Promise.reject(this.#failure ?? gone('closed'))
    return new Promise((resolve, reject) => {
      this.#reading = () => {
        this.#reading = undefined
        this.#next().then(resolve, reject)
      }
    })
  }
}

const gone = (reason: string, cause?: unknown): TidemarkError =>
  new TidemarkError('unreachable', { message: `the connection is gone: ${reason}`, cause })
