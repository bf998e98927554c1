import type { Secret } from './secret.ts'

/** Where a cluster is and as whom it is spoken to: what a `postgres://` URL says, checked (see url.ts). */
export interface PostgresTarget {
  readonly address: Address
  readonly user: string
  /** For SQL; a replication connection has none. */
  readonly database: string
  /** Where the URL holds one. Else see password.ts. */
  readonly password?: Secret
  readonly passwordFile?: string
  readonly applicationName?: string
  readonly tls: TlsChoice
  readonly channelBinding: ChannelBinding
}

export type Address =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  /** The folder of the socket; its name there follows from the port. */
  | { readonly kind: 'socket'; readonly folder: string; readonly port: number }

/**
 * As libpq has them. `prefer` and `require` do not ask who the server is, unless there are root certificates: then
 * `require` is `verify-ca`. `verify-full` also wants the host's name in the certificate. A socket needs no TLS.
 */
export const tlsModes = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
export type TlsMode = (typeof tlsModes)[number]

export interface TlsChoice {
  readonly mode: TlsMode
  /** A PEM file, or `system` for the machine's own. */
  readonly rootCertificates?: string
  /** PEM files of a client that proves itself by a certificate. */
  readonly certificate?: string
  readonly key?: string
}

/** Whether the password's proof is bound to the TLS connection, so that nobody can stand in between. */
export const channelBindings = ['disable', 'prefer', 'require'] as const
export type ChannelBinding = (typeof channelBindings)[number]

export const socketPath = ({ folder, port }: { readonly folder: string; readonly port: number }): string =>
  `${folder}/.s.PGSQL.${port}`

/** `user@host:port`, for messages. */
export function describeTarget({ user, address }: PostgresTarget): string {
  if (address.kind === 'socket') return `${user}@${socketPath(address)}`
  return `${user}@${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`
}
