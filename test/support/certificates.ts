import '../../src/wire/reflection.ts'
import { webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

export type SignatureHash = 'SHA-256' | 'SHA-384' | 'SHA-512'

/** An authority that lives for a day; everything is PEM. */
export async function newAuthority(hash: SignatureHash = 'SHA-256') {
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
