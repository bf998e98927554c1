import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import { fromMilliseconds } from '../model/moment.ts'
import type { Id } from '../model/source.ts'
import type { NbdTls } from '../nbd/tls.ts'
import { leftMs, openCredentials, readCredential, writeCredential, writeSecret } from '../wire/authority.ts'
import { agentCertificateMs, createCsr, issueFromCsr } from '../wire/pki.ts'

/**
 * What a volume shows to those who use it over the network, and by what it knows them: an authority of its own, since the
 * agent's certificate proves who the agent is to its vault, and nothing to others. Clients get the folder `client`, whose files
 * have the names that qemu, libvirt and libnbd look for.
 */
export async function openVolumeTls(
  directory: string,
  volume: Id,
  names: readonly string[],
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<NbdTls> {
  const { authority, server } = await openCredentials(directory, [...new Set(names)], { clock, random })
  const file = join(directory, 'client.pem')
  const kept = await readCredential(file)
  if (kept === undefined || leftMs(kept, clock) < agentCertificateMs / 3) {
    const { csr, key } = await createCsr()
    const now = fromMilliseconds(clock.now() / 1000)
    const certificate = await issueFromCsr(authority, csr, volume, now, random)
    const client = join(directory, 'client')
    await mkdir(client, { recursive: true, mode: 0o700 })
    await writeSecret(join(client, 'ca-cert.pem'), authority.certificate)
    await writeSecret(join(client, 'client-cert.pem'), certificate)
    await writeSecret(join(client, 'client-key.pem'), key)
    await writeCredential(file, { certificate, key })
  }
  return { key: server.key, certificate: server.certificate + authority.certificate, authority: authority.certificate }
}
