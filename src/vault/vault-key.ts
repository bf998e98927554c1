import { createSecretKey, type KeyObject, scrypt } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { isCode, isSystemError, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { keyBytes, keyCheck } from '../format/keys.ts'
import { type Id, isId } from '../model/source.ts'
import type { Store } from '../store/store.ts'
import { vaultName } from './names.ts'

/** The one plain file of a vault: which it is, where its key comes from, and how to tell a wrong key. */
const vaultFile = z.object({
  version: z.literal(1),
  id: z.custom<Id>((value) => typeof value === 'string' && isId(value)),
  key: z.discriminatedUnion('from', [
    z.object({ from: z.literal('file') }),
    z.object({
      from: z.literal('passphrase'),
      salt: z.string().regex(/^[0-9a-f]{64}$/),
      cost: z
        .int()
        .min(2)
        .max(1 << 20),
      blockSize: z.int().min(1).max(64),
      parallelization: z.int().min(1).max(64),
    }),
  ]),
  check: z.string(),
})

export type VaultFile = z.infer<typeof vaultFile>
export type KeyOrigin = VaultFile['key']
export type PassphraseOrigin = Extract<KeyOrigin, { from: 'passphrase' }>

/** What a vault says of itself before its key is known; `not-found` where there is no vault. */
export async function readVaultFile(store: Store): Promise<VaultFile> {
  const bytes = await readWhole(store)
  const parsed = vaultFile.safeParse(json(bytes))
  if (parsed.success) return parsed.data
  throw new TidemarkError('damaged', {
    message: `${vaultName} is damaged: ${z.prettifyError(parsed.error)}`,
    hint: 'Bring this file back from a copy of the vault.',
  })
}

async function readWhole(store: Store): Promise<Buffer> {
  try {
    return await store.read(vaultName, 0, vaultFileBytesMax)
  } catch (error) {
    if (!isCode(error, 'not-found')) throw error
    throw new TidemarkError('not-found', {
      message: `there is no vault here: ${vaultName} is missing`,
      hint: 'Make a vault there first, or name the directory of one.',
      cause: error,
    })
  }
}

const vaultFileBytesMax = 64 * 1024

export async function writeVaultFile(store: Store, id: Id, key: KeyObject, origin: KeyOrigin): Promise<void> {
  const told: VaultFile = { version: 1, id, key: origin, check: keyCheck(key, id) }
  await store.replace(vaultName, Buffer.from(`${JSON.stringify(told, undefined, 2)}\n`, 'utf8'))
}

/** `key-refused` unless it is the key the vault was made with. */
export function checkKey(file: VaultFile, key: KeyObject): void {
  if (keyCheck(key, file.id) === file.check) return
  const hint =
    file.key.from === 'file'
      ? 'Name the key file that was made with this vault.'
      : 'Type the passphrase that this vault was made with.'
  throw new TidemarkError('key-refused', { message: 'this is not the key of this vault', hint })
}

/** A key file holds 64 hexadecimal digits and a line feed, for its owner's eyes only. */
export async function createKeyFile(path: string, random: Random): Promise<KeyObject> {
  const key = Buffer.from(random.bytes(keyBytes))
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(`${key.toString('hex')}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
  return createSecretKey(key)
}

export async function readKeyFile(path: string): Promise<KeyObject> {
  const text = await readKeyText(path)
  const digits = /^([0-9a-fA-F]{64})\s*$/.exec(text)?.[1]
  if (digits === undefined) {
    throw new TidemarkError('key-refused', {
      message: `${path} is no key file`,
      hint: 'A key file holds 64 hexadecimal digits; bring it back from where its copy is kept.',
    })
  }
  return createSecretKey(Buffer.from(digits, 'hex'))
}

async function readKeyText(path: string): Promise<string> {
  try {
    return await readFile(path, 'latin1')
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'EACCES', 'EISDIR')) throw error
    throw new TidemarkError('key-refused', {
      message: `the key file ${path} cannot be read`,
      hint: 'Bring it back from where its copy is kept; without its key a vault cannot be read by anyone.',
      cause: error,
    })
  }
}

/** What a new passphrase is made into a key with. */
export const newPassphraseOrigin = (random: Random): PassphraseOrigin => ({
  from: 'passphrase',
  salt: Buffer.from(random.bytes(keyBytes)).toString('hex'),
  cost: 1 << 17,
  blockSize: 8,
  parallelization: 1,
})

/** scrypt (RFC 7914) of the passphrase in UTF-8, normalised to NFC. */
export function passphraseKey(passphrase: string, origin: PassphraseOrigin): Promise<KeyObject> {
  const { salt, cost, blockSize, parallelization } = origin
  const maxmem = 256 * cost * blockSize
  const options = { cost, blockSize, parallelization, maxmem }
  return new Promise((resolve, reject) => {
    scrypt(passphrase.normalize('NFC'), Buffer.from(salt, 'hex'), keyBytes, options, (error, key) =>
      error ? reject(error) : resolve(createSecretKey(key)),
    )
  })
}

function json(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
