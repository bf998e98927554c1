import './reflection.ts'
import { createHash, sign, verify, type webcrypto, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import * as x509 from '@peculiar/x509'
import { TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { fromMilliseconds, type Moment } from '../model/moment.ts'
import { type Id, isId } from '../model/source.ts'

/**
 * The certificates of one vault: its authority (CA) signs one certificate for the vault's server and one for each
 * agent, and nothing else. Whoever shows a server certificate of this authority is the vault, whatever the address;
 * an agent's certificate is good for clients only and names the agent's id.
 */
export interface Credential {
  /** PEM. */
  readonly certificate: string
  /** PEM (PKCS #8). */
  readonly key: string
}

const hourMs = 3_600_000
const dayMs = 24 * hourMs
export const authorityMs: number = 20 * 365 * dayMs
export const serverCertificateMs: number = 397 * dayMs
export const agentCertificateMs: number = 30 * dayMs
/** Certificates are good from a little before now, for clocks that are behind. */
const behindMs = hourMs

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const serverAuth = '1.3.6.1.5.5.7.3.1'
const clientAuth = '1.3.6.1.5.5.7.3.2'
const { KeyUsageFlags } = x509

export async function createAuthority(name: string, now: Moment, random: Random): Promise<Credential> {
  const keys = await newKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...lifetime(now, authorityMs),
    serialNumber: serialNumber(random),
    name: [{ CN: [`${name} authority`] }],
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate: pem(certificate), key: await exportKey(keys) }
}

/** A certificate for the vault's server, under these host names and IP addresses. */
export async function issueServer(
  authority: Credential,
  names: readonly string[],
  now: Moment,
  random: Random,
): Promise<Credential> {
  const keys = await newKeys()
  const certificate = await issue(authority, {
    subject: 'vault',
    publicKey: keys.publicKey,
    validMs: serverCertificateMs,
    usage: serverAuth,
    names,
    now,
    random,
  })
  return { certificate, key: await exportKey(keys) }
}

/** A new key, and the request to sign it. What the request says of its subject is not looked at. */
export async function createCsr(): Promise<{ csr: string; key: string }> {
  const keys = await newKeys()
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ name: [], keys, signingAlgorithm: algorithm })
  return { csr: pem(request), key: await exportKey(keys) }
}

/** A certificate for an agent or a console, over the key of its request. */
export async function issueFromCsr(
  authority: Credential,
  csr: string,
  client: Id,
  now: Moment,
  random: Random,
): Promise<string> {
  const publicKey = await requestedKey(csr)
  return issue(authority, {
    subject: client,
    publicKey,
    validMs: agentCertificateMs,
    usage: clientAuth,
    names: [],
    now,
    random,
  })
}

async function requestedKey(csr: string): Promise<CryptoKey> {
  try {
    const request = new x509.Pkcs10CertificateRequest(csr)
    if (await request.verify()) return await request.publicKey.export(algorithm, ['verify'])
  } catch (error) {
    throw badRequest(error)
  }
  throw badRequest(undefined)
}

const badRequest = (cause: unknown): TidemarkError =>
  new TidemarkError('bad-request', {
    message: 'the request for a certificate is not one (PKCS #10, an ECDSA key on P-256, signed by that key)',
    cause,
  })

interface Issued {
  readonly subject: string
  readonly publicKey: CryptoKey
  readonly validMs: number
  readonly usage: string
  readonly names: readonly string[]
  readonly now: Moment
  readonly random: Random
}

async function issue(authority: Credential, wanted: Issued): Promise<string> {
  const issuer = new x509.X509Certificate(authority.certificate)
  const issuerKey = await importKey(authority.key)
  const names = wanted.names.map((name) => ({
    type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const),
    value: name,
  }))
  const certificate = await x509.X509CertificateGenerator.create({
    ...lifetime(wanted.now, wanted.validMs),
    serialNumber: serialNumber(wanted.random),
    subject: [{ CN: [wanted.subject] }],
    issuer: issuer.subjectName,
    publicKey: wanted.publicKey,
    signingKey: issuerKey,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([wanted.usage], false),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      await x509.SubjectKeyIdentifierExtension.create(wanted.publicKey),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
    ],
  })
  return pem(certificate)
}

/** SHA-256 of a certificate's public key (SubjectPublicKeyInfo): what an enrolment token pins. */
export function publicKeyFingerprint(certificate: string | X509Certificate): Buffer {
  const read = typeof certificate === 'string' ? new X509Certificate(certificate) : certificate
  return createHash('sha256')
    .update(read.publicKey.export({ type: 'spki', format: 'der' }))
    .digest()
}

export const serialOf = (certificate: string): string => new X509Certificate(certificate).serialNumber

export const expiresAt = (certificate: string | X509Certificate): Moment =>
  fromMilliseconds(
    (typeof certificate === 'string' ? new X509Certificate(certificate) : certificate).validToDate.getTime(),
  )

/** The agent or console that a certificate names; undefined where it names none. Says nothing of who signed it. */
export function clientOf(certificate: X509Certificate): Id | undefined {
  const name = /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? ''
  return isId(name) && certificate.keyUsage?.includes(clientAuth) ? name : undefined
}

/** Base64url of an ECDSA signature (DER) over SHA-256 of the text. */
export const signText = ({ key }: Credential, text: string): string =>
  sign('sha256', Buffer.from(text, 'utf8'), key).toString('base64url')

/** The serial number of the certificate of this authority, good or expired, with whose key the text has been signed. */
export function signerOf(
  authority: string,
  agent: Id,
  { certificate, signature }: { readonly certificate: string; readonly signature: string },
  text: string,
): string | undefined {
  try {
    const read = new X509Certificate(certificate)
    const isOurs = read.verify(new X509Certificate(authority).publicKey) && clientOf(read) === agent
    const bytes = Buffer.from(signature, 'base64url')
    return isOurs && verify('sha256', Buffer.from(text, 'utf8'), read.publicKey, bytes) ? read.serialNumber : undefined
  } catch (error) {
    throw new TidemarkError('bad-request', { message: 'the proof is not a certificate and a signature', cause: error })
  }
}

/** Whether a server certificate is for all these host names and addresses. */
export function coversNames(certificate: string, names: readonly string[]): boolean {
  const read = new X509Certificate(certificate)
  return names.every((name) => (isIP(name) === 0 ? read.checkHost(name) : read.checkIP(name)) !== undefined)
}

const lifetime = (now: Moment, validMs: number): { notBefore: Date; notAfter: Date } => ({
  notBefore: new Date(now / 1000 - behindMs),
  notAfter: new Date(now / 1000 + validMs),
})

/** Sixteen random bytes, positive. */
function serialNumber(random: Random): string {
  const bytes = Buffer.from(random.bytes(16))
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40
  return bytes.toString('hex')
}

const newKeys = (): Promise<webcrypto.CryptoKeyPair> => crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])

const exportKey = async (keys: webcrypto.CryptoKeyPair): Promise<string> =>
  `${x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')}\n`

const importKey = (key: string): Promise<CryptoKey> =>
  crypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(key), algorithm, false, ['sign'])

const pem = (of: x509.X509Certificate | x509.Pkcs10CertificateRequest): string => `${of.toString('pem')}\n`
