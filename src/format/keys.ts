import { createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import type { ChunkId } from '../model/change.ts'
import type { Id } from '../model/source.ts'

/**
 * How every key comes from the vault key: HKDF-SHA-256 (RFC 5869) with the salt and info given here, 32 bytes.
 *
 *   key              from         salt            info
 *   packs            vault key    vault id        "tidemark packs 1"
 *   registry         vault key    vault id        "tidemark registry 1"
 *   check value      vault key    vault id        "tidemark check 1"
 *   one file         its owner    id of the file  "tidemark file 1"
 *
 * The owner of packs is the key `packs`; a journal (and its checkpoints) has a random key of its own, kept in the
 * registry. The chunk key is random too. Keys are kept as KeyObject, which is also what makes them quick to use.
 */
export const keyBytes = 32

const derive = (key: KeyObject, salt: Uint8Array, info: string): Buffer =>
  Buffer.from(hkdfSync('sha256', key, salt, info, keyBytes))

const idBytes = (id: Id): Buffer => Buffer.from(id, 'hex')

export const packsKey = (vaultKey: KeyObject, vault: Id): KeyObject =>
  createSecretKey(derive(vaultKey, idBytes(vault), 'tidemark packs 1'))

export const registryKey = (vaultKey: KeyObject, vault: Id): KeyObject =>
  createSecretKey(derive(vaultKey, idBytes(vault), 'tidemark registry 1'))

/** Tells a right vault key from a wrong one, and nothing else of it. */
export const keyCheck = (vaultKey: KeyObject, vault: Id): string =>
  derive(vaultKey, idBytes(vault), 'tidemark check 1').toString('hex')

export const fileKey = (owner: KeyObject, file: Id): KeyObject =>
  createSecretKey(derive(owner, idBytes(file), 'tidemark file 1'))

/** The name of a chunk: HMAC-SHA-256 of its bytes under the chunk key. */
export const chunkIdOf = (chunkKey: KeyObject, data: Uint8Array): ChunkId =>
  createHmac('sha256', chunkKey).update(data).digest('latin1') as ChunkId
