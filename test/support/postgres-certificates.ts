import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { JsonGeneralNames } from '@peculiar/x509'
import { newAuthority, type SignatureHash } from './certificates.ts'
import type { Cluster } from './postgres.ts'
import { serverOwner } from './postgres-program.ts'

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
  { names, user = 'alice', hash = 'SHA-256' }: { names: JsonGeneralNames; user?: string; hash?: SignatureHash },
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
