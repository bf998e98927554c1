import { createSecretKey, type KeyObject } from 'node:crypto'
import type { Clock } from '../../src/base/clock.ts'
import type { Random } from '../../src/base/random.ts'
import { encodeBatch } from '../../src/format/batch.ts'
import { type Chunk, encodeBlock } from '../../src/format/block.ts'
import { chunkIdOf } from '../../src/format/keys.ts'
import type { Attributes, Change, Extent } from '../../src/model/change.ts'
import { moment, type Moment } from '../../src/model/moment.ts'
import { treePath } from '../../src/model/path.ts'
import { sequence } from '../../src/model/sequence.ts'
import { defaultPolicy, type Id, type SourceDefinition } from '../../src/model/source.ts'
import type { Store } from '../../src/store/store.ts'
import type { Limits } from '../../src/vault/limits.ts'
import { createVault, Vault } from '../../src/vault/vault.ts'

/** What tests of the vault say again and again: a vault with an agent and a source, blocks, batches. */
export const start: Moment = moment(1_700_000_000_000_000)

export const attributes: Attributes = {
  mode: 0o644,
  uid: 1000,
  gid: 1000,
  modifiedNs: 1_700_000_000_123_456_789n,
  xattrs: [],
}

export const keyOfTests: KeyObject = createSecretKey(Buffer.alloc(32, 7))

export interface WorldParts {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly cataloguePath?: string
  readonly limits?: Partial<Limits>
}

export const openTestVault = ({ cataloguePath = ':memory:', ...parts }: WorldParts): Promise<Vault> =>
  Vault.open({ ...parts, key: keyOfTests, cataloguePath })

export async function newTestVault(parts: WorldParts): Promise<Vault> {
  await createVault({ ...parts, key: keyOfTests }, { name: 'north', keyOrigin: { from: 'file' } })
  return openTestVault(parts)
}

export async function addAgentWithSource(vault: Vault, name: string): Promise<{ agent: Id; source: Id }> {
  const { id: agent } = await vault.registry.addAgent({ name, certificates: [], enrolled: start })
  const { id: source } = await vault.addSource(definition(name, agent))
  return { agent, source }
}

export const definition = (name: string, agent: Id): Omit<SourceDefinition, 'id'> => ({
  name: `${name}-files`,
  kind: 'files',
  agent,
  paths: ['/srv'],
  exclude: [],
  policy: defaultPolicy,
  paused: false,
})

export function blockOf(
  vault: { readonly chunkKey: Uint8Array },
  ...contents: readonly Uint8Array[]
): { chunks: Chunk[]; bytes: Buffer } {
  const key = createSecretKey(vault.chunkKey)
  const chunks = contents.map((data) => ({ id: chunkIdOf(key, data), data }))
  return { chunks, bytes: encodeBlock(chunks) }
}

/** A file made of these chunks, one after the other. */
export function putFile(path: string, chunks: readonly Chunk[]): Change {
  const extents: Extent[] = []
  let at = 0
  for (const { id, data } of chunks) {
    extents.push({ at, bytes: data.length, chunk: id })
    at += data.length
  }
  return { kind: 'put', path: treePath(path), attributes, content: { type: 'file', bytes: at, extents } }
}

export const write = (path: string, at: number, data: Uint8Array): Change => ({
  kind: 'write',
  path: treePath(path),
  at,
  data,
})

export const batchOf = (first: number, changes: readonly Change[], at: number = start + first): Buffer =>
  encodeBatch({
    first: sequence(first),
    settled: true,
    cursor: Buffer.from(`cursor ${first + changes.length - 1}`),
    changes: changes.map((change) => ({ moment: moment(at), change })),
  })

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
