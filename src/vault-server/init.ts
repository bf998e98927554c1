import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import { directoryStore } from '../store/directory.ts'
import { createKeyFile, newPassphraseOrigin, passphraseKey } from '../vault/vault-key.ts'
import { createVault } from '../vault/vault.ts'
import { openCredentials } from '../wire/authority.ts'
import { credentialsFolder, keyFileName, readPassphrase, writeSettings } from './place.ts'

export interface InitRequest {
  readonly directory: string
  readonly name: string
  readonly addresses: readonly string[]
  readonly keyFile?: string
  readonly passphraseFile?: string
}

/** Makes a vault: key, registry, authority. What was there before is never written over. */
export async function initVault(
  request: InitRequest,
  parts: { readonly clock: Clock; readonly random: Random },
): Promise<{ directory: string; key: string }> {
  const { random } = parts
  const directory = resolve(request.directory)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const store = await directoryStore(directory)
  const origin = request.passphraseFile === undefined ? ({ from: 'file' } as const) : newPassphraseOrigin(random)
  const keyFile = resolve(request.keyFile ?? join(directory, keyFileName))
  const key =
    origin.from === 'passphrase'
      ? await passphraseKey(await readPassphrase(request.passphraseFile), origin)
      : await createKeyFile(keyFile, random)
  await createVault({ store, key, random }, { name: request.name, keyOrigin: origin })
  await openCredentials(join(directory, credentialsFolder), certificateNames(request.addresses), parts)
  await writeSettings(directory, {
    addresses: [...request.addresses],
    ...(origin.from === 'passphrase' ? { passphraseFile: resolve(request.passphraseFile as string) } : { keyFile }),
  })
  return { directory, key: origin.from === 'passphrase' ? 'derived from the passphrase' : keyFile }
}

/** What the server's certificate is good for, beside loopback. Agents go by the pinned authority, not by names. */
export const certificateNames = (addresses: readonly string[]): string[] => [
  ...new Set(['localhost', '127.0.0.1', '::1', ...addresses]),
]
