import '../../src/wire/reflection.ts'
import { webcrypto } from 'node:crypto'
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import type { Cluster } from './postgres.ts'
import { serverOwner } from './postgres-program.ts'

/** Hash of the signature, which the channel binding follows. */
export type SignatureHash = 'SHA-256' | 'SHA-384' | 'SHA-512'

export interface Certificates {
  /** Paths of PEM files that this process can read. */
  readonly root: string
  /** Of another authority, which signed nothing here. */
  readonly otherRoot: string
  readonly client: { readonly certificate: string; readonly key: string }
}

/** Switches TLS on with a certificate for `names`, and makes one for the client `user`. Counts after a restart. */
export async function useTls(
  cluster: Cluster,
  { names, user = 'alice', hash = 'SHA-256' }: { names: x509.JsonGeneralNames; user?: string; hash?: SignatureHash },
): Promise<Certificates> {
  const folder = join(cluster.folder, 'certificates')
  mkdirSync(folder, { recursive: true })
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 })
    return join(folder, name)
  }
  const authority = await newAuthority(hash)
  const server = await authority.sign('server', names)
  const client = await authority.sign(user, [])
  const paths = {
    root: file('root.pem', authority.certificate),
    otherRoot: file('other-root.pem', (await newAuthority(hash)).certificate),
    client: { certificate: file('client.pem', client.certificate), key: file('client.key', client.key) },
  }
  const settings = {
    ssl_ca_file: file('server-root.pem', authority.certificate),
    ssl_cert_file: file('server.pem', server.certificate),
    ssl_key_file: file('server.key', server.key),
  }
  const owner = serverOwner()
  chmodSync(folder, 0o755)
  for (const path of Object.values(settings)) if (owner) chownSync(path, owner.uid, owner.gid)
  cluster.configure({ ssl: true, ...settings })
  return paths
}

async function newAuthority(hash: SignatureHash) {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash } as const
  const newKeys = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const validity = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 86_400_000) }
  const keys = await newKeys()
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: ['root of a test'] }],
    keys,
    signingAlgorithm: algorithm,
    ...validity,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  })
  return {
    certificate: root.toString('pem'),
    sign: async (commonName: string, names: x509.JsonGeneralNames) => {
      const own = await newKeys()
      const certificate = await x509.X509CertificateGenerator.create({
        subject: [{ CN: [commonName] }],
        issuer: root.subject,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        ...validity,
        extensions: names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)],
      })
      const key = await webcrypto.subtle.exportKey('pkcs8', own.privateKey)
      return { certificate: certificate.toString('pem'), key: x509.PemConverter.encode(key, 'PRIVATE KEY') }
    },
  }
}
