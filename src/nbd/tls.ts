import { constants } from 'node:crypto'
import { isIP, type Socket } from 'node:net'
import tls from 'node:tls'
import { Malformed } from '../base/bytes.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'

/** By what a server proves who it is, and whom it serves. All PEM. */
export interface NbdTls {
  readonly key: string
  /** With those that lead to its authority. */
  readonly certificate: string
  /** Then clients have to show a certificate of it. */
  readonly authority?: string | undefined
}

/** By what a client knows a server, and proves who it is. All PEM. */
export interface NbdClientTls {
  readonly authority: string
  readonly key?: string | undefined
  readonly certificate?: string | undefined
  /** The name in the server's certificate, where it is not the host's. */
  readonly serverName?: string | undefined
}

export const tlsHandshakeMsMax = 10_000

/** Version 1.3 alone, and no resumption, so that every connection proves who it is. */
const common = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const

/** The server's end of TLS over a connection that has begun without. */
export function beginTls(plain: Socket, { key, certificate, authority }: NbdTls): Promise<tls.TLSSocket> {
  const isProofWanted = authority !== undefined
  const server = tls.createServer({
    ...common,
    key,
    cert: certificate,
    ...(isProofWanted ? { ca: authority } : {}),
    requestCert: isProofWanted,
    rejectUnauthorized: isProofWanted,
    handshakeTimeout: tlsHandshakeMsMax,
    allowHalfOpen: true,
  })
  return new Promise((resolve, reject) => {
    server.once('secureConnection', resolve)
    server.once('tlsClientError', reject)
    plain.once('close', () => reject(new Malformed('the client has gone')))
    server.emit('connection', plain)
  })
}

/** The client's end of it. */
export function joinTls(
  plain: Socket,
  { authority, key, certificate, serverName }: NbdClientTls,
  host: string,
): Promise<tls.TLSSocket> {
  const name = serverName ?? host
  return new Promise((resolve, reject) => {
    const secure = tls.connect({
      ...common,
      socket: plain,
      ca: authority,
      ...(key === undefined ? {} : { key }),
      ...(certificate === undefined ? {} : { cert: certificate }),
      ...(isIP(name) === 0 ? { servername: name } : {}),
      checkServerIdentity: (_host, shown) => tls.checkServerIdentity(name, shown),
    })
    const refused = (error: unknown): void =>
      reject(
        new TidemarkError('tls-refused', {
          message: `the NBD server has not proved to be "${name}", or does not accept this client: ${messageOf(error)}`,
          hint: 'check the address, and which authority signed the certificates of both',
          cause: error,
        }),
      )
    secure.once('error', refused)
    secure.once('close', () => refused('it has gone'))
    secure.once('secureConnect', () => {
      secure.off('error', refused)
      resolve(secure)
    })
  })
}
