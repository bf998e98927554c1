import { createSecretKey, type KeyObject } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isSystemError, TidemarkError } from '../base/errors.ts'
import { pathExists } from '../base/path-exists.ts'
import type { Random } from '../base/random.ts'
import { writeSecret } from '../wire/authority.ts'

/**
 * The console's directory, readable by its owner only.
 *
 *   console.sqlite      accounts, sessions, vaults, audit, alarms
 *   secret.key          seals what of that is secret: secrets of authenticators and of alarm channels
 *   vaults/ID.pem       certificate and key with which the vault of that id knows this console
 *   https/              the certificate that the console made for itself, with its authority
 *   api.sock            the API, for this user alone, while the console runs
 */
export const socketName = 'api.sock'
export const databasePath = (directory: string): string => join(directory, 'console.sqlite')
export const vaultCredentialsFolder = (directory: string): string => join(directory, 'vaults')
export const httpsFolder = (directory: string): string => join(directory, 'https')

const secretKeyPath = (directory: string): string => join(directory, 'secret.key')
const secretKeyBytes = 32

export async function createPlace(directory: string, random: Random): Promise<void> {
  await mkdir(vaultCredentialsFolder(directory), { recursive: true, mode: 0o700 })
  const file = secretKeyPath(directory)
  if (!(await pathExists(file))) await writeSecret(file, Buffer.from(random.bytes(secretKeyBytes)).toString('hex'))
}

export async function readSecretKey(directory: string): Promise<KeyObject> {
  const file = secretKeyPath(directory)
  try {
    const key = Buffer.from((await readFile(file, 'utf8')).trim(), 'hex')
    if (key.length === secretKeyBytes) return createSecretKey(key)
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error
    throw new TidemarkError('not-found', {
      message: `there is no console in ${directory}`,
      hint: 'create one with "tidemark console init", or name its directory with --dir',
      cause: error,
    })
  }
  throw new TidemarkError('key-refused', {
    message: `${file} is not the key of a console`,
    hint: 'bring it back from a copy of the directory',
  })
}
