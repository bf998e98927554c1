import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import net, { type AddressInfo, type Socket } from 'node:net'
import tls from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { messageOf, systemCode, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { openCredentials } from '../wire/authority.ts'
import { type Credential, coversNames } from '../wire/pki.ts'
import { httpsFolder } from './place.ts'

/** A certificate and key (PEM files), or one that the console makes for itself. */
export type HttpsRequest =
  | { readonly certificateFile: string; readonly keyFile: string }
  | { readonly isSelfMade: true; readonly names: readonly string[] }

/** Connections of browsers at a time; each open page holds one for what is live. */
const connectionsMax = 1_024

export async function readHttps(
  directory: string,
  request: HttpsRequest,
  parts: { readonly clock: Clock; readonly random: Random },
): Promise<Credential> {
  if ('isSelfMade' in request) {
    const { server, authority } = await openCredentials(httpsFolder(directory), request.names, parts)
    return { certificate: server.certificate + authority.certificate, key: server.key }
  }
  const [certificate, key] = await Promise.all([
    readFile(request.certificateFile, 'utf8'),
    readFile(request.keyFile, 'utf8'),
  ])
  try {
    tls.createSecureContext({ cert: certificate, key })
  } catch (error) {
    throw new TidemarkError('bad-request', {
      message: `${request.certificateFile} and ${request.keyFile} are not a certificate and its key: ${messageOf(error)}`,
      hint: 'give PEM files: the certificate with those that signed it, and its key without a passphrase',
      cause: error,
    })
  }
  return { certificate, key }
}

export interface Listening extends AsyncDisposable {
  readonly port: number
  readonly covers: (name: string) => boolean
  /** For the connections to come. */
  renew(credential: Credential): void
}

/** Where browsers connect. Disposing ends all connections. */
export async function listen(
  { host, port }: { readonly host: string; readonly port: number },
  credential: Credential | undefined,
  admit: (socket: Socket) => void,
): Promise<Listening> {
  const sockets = new Set<Socket>()
  let present = credential
  const connected = (socket: Socket): void => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    admit(socket)
  }
  const secure =
    credential &&
    tls.createServer({
      cert: credential.certificate,
      key: credential.key,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
    })
  secure?.on('secureConnection', connected)
  secure?.on('tlsClientError', (_error, socket) => socket.destroy())
  const server = secure ?? net.createServer(connected)
  server.maxConnections = connectionsMax
  server.listen(port, host)
  await once(server, 'listening').catch((error: unknown) => {
    throw new TidemarkError(systemCode(error) === 'EADDRINUSE' ? 'in-use' : 'unreachable', {
      message: `cannot listen on ${host}:${port}: ${messageOf(error)}`,
      hint: 'name another with --listen HOST:PORT',
      cause: error,
    })
  })
  return {
    port: (server.address() as AddressInfo).port,
    covers: (name) => present !== undefined && coversNames(present.certificate, [name]),
    renew: (renewed) => {
      present = renewed
      secure?.setSecureContext({ cert: renewed.certificate, key: renewed.key, minVersion: 'TLSv1.2' })
    },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
