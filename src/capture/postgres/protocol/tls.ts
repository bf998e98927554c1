import { createHash, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import net, { type Socket } from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import { messageOf, TidemarkError } from '../../../base/errors.ts'
import type { TlsChoice } from './target.ts'

/** Makes a TLS connection of one whose server has agreed to it. Rejects where the server has not proved who it is. */
export async function startTls(socket: Socket, host: string, choice: TlsChoice): Promise<TLSSocket> {
  const { mode, rootCertificates } = choice
  const isVerified = mode !== 'prefer' && rootCertificates !== undefined
  const secured = tls.connect({
    socket,
    host,
    // A name is sent to the server, an address is not (RFC 6066).
    ...(net.isIP(host) === 0 ? { servername: host } : {}),
    minVersion: 'TLSv1.2',
    rejectUnauthorized: isVerified,
    ...(mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
    ...(isVerified ? { ca: await trusted(rootCertificates) } : {}),
    ...(choice.certificate ? { cert: await pem(choice.certificate) } : {}),
    ...(choice.key ? { key: await pem(choice.key) } : {}),
  })
  try {
    await new Promise<void>((resolve, reject) => {
      secured.once('secureConnect', resolve)
      secured.once('error', reject)
      secured.once('close', () => reject(new Error('the server closed the connection during the TLS handshake')))
    })
  } catch (error) {
    secured.destroy()
    throw new TidemarkError('tls-refused', {
      message: `no TLS connection with ${host}: ${messageOf(error)}`,
      hint: `sslmode=${mode} asks for a certificate that fits; check sslrootcert, and the name in the server's certificate`,
      cause: error,
    })
  }
  return secured
}

const trusted = async (rootCertificates: string): Promise<string | string[]> =>
  rootCertificates === 'system' ? tls.getCACertificates('system') : await pem(rootCertificates)

async function pem(path: string): Promise<string> {
  try {
    return await readFile(path, 'latin1')
  } catch (error) {
    throw new TidemarkError('unreadable', {
      message: `the certificate or key file ${path} cannot be read: ${messageOf(error)}`,
      cause: error,
    })
  }
}

/**
 * tls-server-end-point (RFC 5929): the certificate hashed as its own signature is, but with SHA-256 in place of MD5 and
 * SHA-1. Undefined for signatures that have no such hash (Ed25519) or name it in a parameter (RSA-PSS).
 */
export function certificateHashOf(socket: TLSSocket): Uint8Array | undefined {
  const certificate = socket.getPeerX509Certificate()
  const hash = certificate && hashOfSignature(certificate)
  return certificate && hash ? createHash(hash).update(certificate.raw).digest() : undefined
}

function hashOfSignature({ signatureAlgorithm }: X509Certificate): string | undefined {
  const name = /(?:^|with-)(md5|sha1|sha224|sha256|sha384|sha512)(?:with|$)/i.exec(signatureAlgorithm ?? '')?.[1]
  return name === undefined ? undefined : /^(?:md5|sha1)$/i.test(name) ? 'sha256' : name.toLowerCase()
}
