import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { isSystemError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { fromMilliseconds } from '../model/moment.ts'
import { coversNames, createAuthority, type Credential, expiresAt, issueServer, serverCertificateMs } from './pki.ts'

/** What a vault shows to those who connect, and what it signs agents' certificates with. */
export interface VaultCredentials {
  readonly authority: Credential
  readonly server: Credential
}

/**
 * The authority of the vault in this directory, made at the first time, and its server's certificate, made anew when it
 * nears its end or does not cover `names`. Each is one file with certificate and key, readable by its owner only.
 */
export async function openCredentials(
  directory: string,
  names: readonly string[],
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<VaultCredentials> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const now = fromMilliseconds(clock.now() / 1000)
  const authorityFile = join(directory, 'authority.pem')
  const authority = (await readCredential(authorityFile)) ?? (await createAuthority('Tidemark', now, random))
  await writeCredential(authorityFile, authority)
  const serverFile = join(directory, 'server.pem')
  const kept = await readCredential(serverFile)
  const isGood = kept && leftMs(kept, clock) > serverCertificateMs / 3 && coversNames(kept.certificate, names)
  const server = isGood ? kept : await issueServer(authority, names, now, random)
  if (!isGood) await writeCredential(serverFile, server)
  return { authority, server }
}

export const leftMs = ({ certificate }: Credential, clock: Clock): number =>
  (expiresAt(certificate) - clock.now()) / 1000

/** Certificate and key from one file, or undefined where there is none. */
export async function readCredential(file: string): Promise<Credential | undefined> {
  try {
    const text = await readFile(file, 'utf8')
    const at = text.indexOf('-----BEGIN PRIVATE KEY-----')
    return { certificate: text.slice(0, at), key: text.slice(at) }
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Afterwards, and after a crash, the file holds the old or the new, never a certificate with another's key. */
export const writeCredential = (file: string, { certificate, key }: Credential): Promise<void> =>
  writeSecret(file, certificate + key)

/** Replaces a small file whole, durably, readable by its owner only. */
export async function writeSecret(file: string, content: string): Promise<void> {
  const next = `${file}.new`
  const handle = await open(next, 'w', 0o600)
  try {
    await chmod(next, 0o600)
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(next, file)
  const folder = await open(dirname(file), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
