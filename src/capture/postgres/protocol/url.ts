import { TidemarkError } from '../../../base/errors.ts'
import { Secret } from './secret.ts'
import {
  type Address,
  type ChannelBinding,
  channelBindings,
  type PostgresTarget,
  type TlsChoice,
  type TlsMode,
  tlsModes,
} from './target.ts'

const defaultPort = 5432
export const defaultSocketFolder = '/var/run/postgresql'

/** What may stand after the `?`, by libpq's names. */
const parameterNames = [
  'host',
  'port',
  'user',
  'password',
  'dbname',
  'application_name',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'channel_binding',
  'passfile',
] as const
type ParameterName = (typeof parameterNames)[number]
type Parameters = Partial<Record<ParameterName, string>>

/** The members of a pair and some more. */
const hostsMax = 16

/**
 * `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=…`, every part of which may be left out,
 * with the meaning libpq gives it. A host that starts with `/` is the folder of a socket, and so is none at all. Errors name
 * the part, never the URL, which may hold a password.
 *
 * `systemUser` is who this process runs as, the user where the URL names none.
 */
export function parsePostgresUrl(text: string, systemUser: string): PostgresTarget {
  const [target, ...others] = parsePostgresUrls(text, systemUser)
  if (target === undefined || others.length > 0) throw refused('names several hosts where one is wanted')
  return target
}

/** The same for a URL with several hosts, `postgres://user@a:5432,b:5432/database`: the members of one cluster. */
export function parsePostgresUrls(text: string, systemUser: string): PostgresTarget[] {
  const parts = /^postgres(?:ql)?:\/\/(?:([^@/?#]*)@)?([^@/?#]*)(?:\/([^/?#]*))?(?:\?([^#]*))?$/s.exec(text)
  if (!parts) throw refused('is not of the form postgres://user@host:port/database?name=value')
  const [, userInfo = '', authority = '', path = '', search = ''] = parts
  const given: Parameters = { ...readAuthority(authority), ...readUserInfo(userInfo) }
  if (path !== '') given.dbname = decode('dbname', path)
  Object.assign(given, readSearch(search))
  const user = given.user || systemUser
  return addressesOf(given).map((address) => ({
    address,
    user,
    database: given.dbname || user,
    ...(given.password ? { password: new Secret(given.password) } : {}),
    ...(given.passfile ? { passwordFile: given.passfile } : {}),
    ...(given.application_name ? { applicationName: given.application_name } : {}),
    tls: tlsOf(given),
    channelBinding: oneOf<ChannelBinding>('channel_binding', given.channel_binding || 'prefer', channelBindings),
  }))
}

function readUserInfo(text: string): Parameters {
  const colon = text.indexOf(':')
  const [user, password] = colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
  return {
    ...(user === '' ? {} : { user: decode('user', user) }),
    ...(password === '' ? {} : { password: decode('password', password) }),
  }
}

/** Hosts and ports as libpq takes them in `host` and `port`: lists with commas, as long as each other. */
function readAuthority(text: string): Parameters {
  const members = text.split(',').map((member) => {
    const parts = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([^:]*))?$/s.exec(member)
    if (!parts) throw refused('has a host that is none; put an IPv6 address into [ ]')
    return { host: decode('host', parts[1] ?? parts[2] ?? ''), port: decode('port', parts[3] ?? '') }
  })
  const host = members.map((member) => member.host).join(',')
  const port = members.map((member) => member.port).join(',')
  return { ...(host === '' ? {} : { host }), ...(port === '' ? {} : { port }) }
}

function readSearch(text: string): Parameters {
  const given: Parameters = {}
  for (const pair of text.split('&').filter(Boolean)) {
    const equals = pair.indexOf('=')
    const name = equals < 0 ? pair : pair.slice(0, equals)
    if (equals < 0 || !isParameterName(name)) {
      throw refused(`has the parameter "${name}"; known are ${parameterNames.join(', ')}, each with a value`)
    }
    given[name] = decode(name, pair.slice(equals + 1))
  }
  return given
}

const isParameterName = (name: string): name is ParameterName => (parameterNames as readonly string[]).includes(name)

function decode(part: ParameterName, text: string): string {
  try {
    const decoded = decodeURIComponent(text)
    if (!decoded.includes('\0')) return decoded
  } catch {
    // Told below, without the text, which may be a password.
  }
  throw refused(`has a ${part} with a % that is not followed by a valid code; write % itself as %25`)
}

function addressesOf({ host = '', port = '' }: Parameters): Address[] {
  const hosts = host.split(',')
  const ports = port.split(',')
  if (ports.length !== 1 && ports.length !== hosts.length) throw refused('has more ports than hosts, or fewer')
  if (hosts.length > hostsMax) throw refused(`names more than ${hostsMax} hosts`)
  return hosts.map((one, index) => addressOf(one, ports.length === 1 ? port : (ports[index] ?? '')))
}

function addressOf(given: string, givenPort: string): Address {
  const host = given === '' ? defaultSocketFolder : given
  const port = givenPort === '' ? defaultPort : /^\d{1,5}$/.test(givenPort) ? Number(givenPort) : 0
  if (port < 1 || port > 65_535) throw refused('has a port that is not a number from 1 to 65535')
  return host.startsWith('/') ? { kind: 'socket', folder: host, port } : { kind: 'tcp', host, port }
}

function tlsOf(given: Parameters): TlsChoice {
  const root = given.sslrootcert
  const mode = oneOf<TlsMode>('sslmode', given.sslmode || (root === 'system' ? 'verify-full' : 'prefer'), tlsModes)
  if ((mode === 'verify-ca' || mode === 'verify-full') && !root) {
    throw refused(
      `has sslmode=${mode} without sslrootcert: give a PEM file with the certificates to trust, or "system"`,
    )
  }
  if (root === 'system' && mode !== 'verify-full') {
    throw refused('has sslrootcert=system, which needs sslmode=verify-full: anyone can get a certificate of those')
  }
  if (!given.sslcert !== !given.sslkey) throw refused('has one of sslcert and sslkey; they are given together')
  return {
    mode,
    ...(root ? { rootCertificates: root } : {}),
    ...(given.sslcert ? { certificate: given.sslcert } : {}),
    ...(given.sslkey ? { key: given.sslkey } : {}),
  }
}

function oneOf<T extends string>(part: ParameterName, value: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value)
  if (found === undefined) throw refused(`has ${part}=${value}; allowed are ${allowed.join(', ')}`)
  return found
}

const refused = (why: string): TidemarkError =>
  new TidemarkError('bad-request', { message: `the URL of a PostgreSQL server ${why}` })
