import { readFile, writeFile } from 'node:fs/promises'
import type { KeyObject } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import { isSystemError, TidemarkError } from '../base/errors.ts'
import type { Store } from '../store/store.ts'
import { checkKey, passphraseKey, readKeyFile, readVaultFile, type VaultFile } from '../vault/vault-key.ts'

/** Where the parts of a vault stand in its directory, and what it was told when it was made. */
export const keyFileName = 'vault.key'
export const credentialsFolder = 'authority'
export const socketName = 'api.sock'
const settingsName = 'settings.json'

export const derivedFolder = (directory: string): string => join(directory, 'derived')
export const tasksPath = (directory: string): string => join(directory, 'tasks.sqlite')
export const cataloguePath = (directory: string): string => join(derivedFolder(directory), 'catalogue.sqlite')

export const measuresPath = (directory: string): string => join(directory, 'measures.sqlite')

const settings = z.object({
  /** Names and addresses that agents dial; in the server's certificate. */
  addresses: z.array(z.string()),
  /** Where the key or its passphrase is read from; absent for the key file in the directory. */
  keyFile: z.string().optional(),
  passphraseFile: z.string().optional(),
})
export type VaultSettings = z.infer<typeof settings>

export const writeSettings = (directory: string, told: VaultSettings): Promise<void> =>
  writeFile(join(directory, settingsName), `${JSON.stringify(told, undefined, 2)}\n`, { mode: 0o600 })

export async function readSettings(directory: string): Promise<VaultSettings> {
  try {
    return settings.parse(JSON.parse(await readFile(join(directory, settingsName), 'utf8')))
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) {
      throw new TidemarkError('not-found', {
        message: `there is no vault in ${directory}`,
        hint: 'create one with "tidemark vault init", or name its directory with --dir',
        cause: error,
      })
    }
    throw error
  }
}

/** The key of the vault, from where it was told to be kept; `key-refused` if it is not the one. */
export async function readVaultKey(directory: string, store: Store): Promise<{ file: VaultFile; key: KeyObject }> {
  const { keyFile, passphraseFile } = await readSettings(directory)
  const file = await readVaultFile(store)
  const key =
    file.key.from === 'passphrase'
      ? await passphraseKey(await readPassphrase(passphraseFile), file.key)
      : await readKeyFile(keyFile ?? join(directory, keyFileName))
  checkKey(file, key)
  return { file, key }
}

export async function readPassphrase(file: string | undefined): Promise<string> {
  const text = file === undefined ? '' : (await readFile(file, 'utf8')).replace(/\r?\n$/, '')
  if (text !== '') return text
  throw new TidemarkError('key-refused', {
    message:
      file === undefined
        ? 'the key of this vault comes from a passphrase, and no file of it is known'
        : `${file} holds no passphrase`,
    hint: `name the file in ${settingsName}`,
  })
}
