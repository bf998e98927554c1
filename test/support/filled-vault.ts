import assert from 'node:assert/strict'
import { createSecretKey, type KeyObject } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { z } from 'zod'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { encodeBatch } from '../../src/format/batch.ts'
import { encodeBlock } from '../../src/format/block.ts'
import { chunkIdOf } from '../../src/format/keys.ts'
import { chunkBytesMax } from '../../src/model/batch.ts'
import type { Change, Content, Extent } from '../../src/model/change.ts'
import { moment } from '../../src/model/moment.ts'
import { sequence } from '../../src/model/sequence.ts'
import type { SourceKind } from '../../src/model/source.ts'
import { directoryStore } from '../../src/store/directory.ts'
import { Vault } from '../../src/vault/vault.ts'
import { initVault } from '../../src/vault-server/init.ts'
import { cataloguePath, derivedFolder, readVaultKey, socketName } from '../../src/vault-server/place.ts'
import { runVault } from '../../src/vault-server/run.ts'
import { definition, start } from './vault-world.ts'

/** A vault at work whose one source, "docs", has exactly the changes that a test told it. */
export interface FilledVault {
  readonly directory: string
  readonly socketPath: string
  /** The whole answer. A connection that is cut rejects. */
  ask(path: string): Promise<Answer>
  json<T>(path: string, schema: z.ZodType<T>): Promise<T>
  lines<T>(path: string, schema: z.ZodType<T>): Promise<T[]>
}

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

export interface Filling {
  /** Of a journal that began at `start`; one batch, settled. */
  batch(afterMs: number, changes: readonly Change[]): Promise<void>
  /** The content of a file, its chunks at the vault. */
  file(bytes: Uint8Array): Promise<Content>
}

const running = { clock: systemClock, random: systemRandom }

export async function filledVault(
  context: TestContext,
  fill: (filling: Filling) => Promise<void>,
  kind: SourceKind = 'files',
): Promise<FilledVault> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-filled-'))
  context.after(() => rmSync(directory, { recursive: true }))
  await initVault({ directory, name: 'north', addresses: [] }, running)
  await filled(directory, fill, kind)
  const stop = new AbortController()
  const ready = Promise.withResolvers<void>()
  const tell = (line: string): void => {
    if (line.includes('listens on')) ready.resolve()
  }
  const ended = runVault({ directory, host: '127.0.0.1', port: 0 }, { ...running, tell }, stop.signal)
  context.after(async () => {
    stop.abort(new Error('the test is over'))
    await ended.catch((error: unknown) => assert.equal(error, stop.signal.reason))
  })
  await Promise.race([ready.promise, ended])
  const socketPath = join(directory, socketName)
  const ask = (path: string): Promise<Answer> => answer({ socketPath, path })
  const good = async (path: string): Promise<string> => {
    const { status, body } = await ask(path)
    assert.equal(status, 200, body.toString())
    return body.toString()
  }
  return {
    directory,
    socketPath,
    ask,
    json: async (path, schema) => schema.parse(JSON.parse(await good(path))),
    lines: async (path, schema) =>
      (await good(path)).split('\n').flatMap((line) => (line === '' ? [] : [schema.parse(JSON.parse(line))])),
  }
}

async function filled(directory: string, fill: (filling: Filling) => Promise<void>, kind: SourceKind): Promise<void> {
  const store = await directoryStore(directory)
  const { key } = await readVaultKey(directory, store)
  await mkdir(derivedFolder(directory), { recursive: true })
  await using vault = await Vault.open({ store, key, ...running, cataloguePath: cataloguePath(directory) })
  const { id: agent } = await vault.registry.addAgent({ name: 'server', certificates: [], enrolled: start })
  const { id: source } = await vault.addSource({ ...definition('docs', agent), name: 'docs', kind })
  await using appender = await vault.appender(agent, source, new AbortController().signal)
  const chunkKey = createSecretKey(vault.registry.chunkKey)
  await fill({
    batch: async (afterMs, changes) => {
      const at = moment(start + afterMs * 1000)
      const first = sequence(appender.durable + 1)
      const stamped = changes.map((change) => ({ moment: at, change }))
      await appender.batch(encodeBatch({ first, settled: true, cursor: Buffer.alloc(0), changes: stamped }))
    },
    file: (bytes) => file(bytes, chunkKey, (block) => appender.block(block)),
  })
}

async function file(bytes: Uint8Array, key: KeyObject, keep: (block: Uint8Array) => Promise<void>): Promise<Content> {
  const extents: Extent[] = []
  for (let at = 0; at < bytes.length; at += chunkBytesMax) {
    const data = bytes.subarray(at, at + chunkBytesMax)
    const id = chunkIdOf(key, data)
    await keep(encodeBlock([{ id, data }]))
    extents.push({ at, bytes: data.length, chunk: id })
  }
  return { type: 'file', bytes: bytes.length, extents }
}

const answer = (options: http.RequestOptions): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const request = http.request(options, (response) => {
      const pieces: Buffer[] = []
      response.on('data', (bytes: Buffer) => pieces.push(bytes))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(pieces) }),
      )
    })
    request.on('error', reject).end()
  })
