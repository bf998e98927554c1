import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { BlockList, isIP } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import { messageOf, systemCode, TidemarkError } from '../../base/errors.ts'

export interface PostRequest {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** The authority that the server's certificate comes from, in PEM; absent: those that the system knows. */
  readonly authority?: string | undefined
}

/** From the first packet to the last byte of the answer. */
export const postMsMax = 15_000
export const answerBytesMax: number = 64 * 1024

/** Where a rented machine is told its own keys, and what is reached from nowhere else. The company's own network is where receivers are. */
const ofMachine = new BlockList()
ofMachine.addSubnet('169.254.0.0', 16, 'ipv4')
ofMachine.addSubnet('fe80::', 10, 'ipv6')
ofMachine.addAddress('100.100.100.200', 'ipv4')

export const isOfMachine = (address: string): boolean =>
  isIP(address) !== 0 && ofMachine.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** One request, one answer: no redirect is followed, wherever it points. Fails as `unreachable`, `tls-refused` or `channel-refused`. */
export async function post(
  { url, headers, body, authority }: PostRequest,
  clock: Clock,
  signal: AbortSignal,
): Promise<{ status: number; text: string }> {
  const inside = new AbortController()
  const joined = AbortSignal.any([signal, inside.signal])
  const late = clock.sleep(postMsMax, joined).then(() => {
    throw new TidemarkError('unreachable', {
      message: `${url.host} gave no whole answer within ${postMsMax / 1000} s`,
      hint: 'see whether the receiver works and is reached from the machine of the console',
    })
  })
  try {
    return await Promise.race([answerOf({ url, headers, body, authority }, joined), late])
  } finally {
    inside.abort()
    late.catch(() => undefined)
  }
}

function answerOf(
  { url, headers, body, authority }: PostRequest,
  signal: AbortSignal,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const failed = (error: unknown): void => reject(failureOf(error, url.host))
    if (isOfMachine(url.hostname.replace(/^\[|\]$/g, ''))) return failed(notThere(url.host))
    const options = {
      method: 'POST',
      headers: { ...headers, 'content-length': String(Buffer.byteLength(body)), 'user-agent': 'tidemark-console' },
      agent: false,
      signal,
      ...(authority === undefined ? {} : { ca: authority }),
    } as const
    const sending = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, (answer) => {
      const pieces: Buffer[] = []
      let bytes = 0
      answer.on('data', (piece: Buffer) => {
        pieces.push(piece)
        bytes += piece.length
        if (bytes <= answerBytesMax) return
        sending.destroy(
          new TidemarkError('channel-refused', {
            message: `the answer of ${url.host} has more than ${answerBytesMax / 1024} KiB`,
            hint: 'see whether the address is that of a webhook',
          }),
        )
      })
      answer.on('error', failed)
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(pieces).toString('utf8') }))
    })
    // Before a byte is sent: a name may mean such an address as well.
    sending.on('socket', (socket) =>
      socket.once('connect', () => {
        if (isOfMachine(socket.remoteAddress ?? '')) sending.destroy(notThere(url.host))
      }),
    )
    sending.on('error', failed)
    sending.end(body)
  })
}

const notThere = (host: string): TidemarkError =>
  new TidemarkError('channel-refused', {
    message: `${host} is an address at which machines are told their own keys: nothing is sent there`,
    hint: 'give the address of the receiver',
  })

/** Of a connection to `host`: never with the address, which may be a secret. */
export function failureOf(error: unknown, host: string): unknown {
  if (error instanceof TidemarkError || (error instanceof Error && error.name === 'AbortError')) return error
  const code = systemCode(error) ?? ''
  // The mail library puts codes of its own in place of those of TLS.
  if (isOfTls.test(code) || isOfCertificate.test(messageOf(error))) {
    return new TidemarkError('tls-refused', {
      message: `the certificate of ${host} is not trusted: ${messageOf(error)}`,
      hint: "give the channel the certificate of the authority that it comes from, or mend the receiver's",
      cause: error,
    })
  }
  return new TidemarkError('unreachable', {
    message: `${host} cannot be reached: ${messageOf(error)}`,
    hint: 'see whether it is up, and whether a firewall lets the console through',
    cause: error,
  })
}

const isOfTls = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL|EPROTO|INVALID_CA|HOSTNAME_MISMATCH|ETLS/
const isOfCertificate = /certificate|altnames/i
