import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { HeldClock } from '../../../test/support/held-clock.ts'
import {
  addAgentWithSource,
  attributes,
  batchOf,
  blockOf,
  newTestVault,
  putFile,
  write,
} from '../../../test/support/vault-world.ts'
import { systemClock } from '../../base/clock.ts'
import { isCode } from '../../base/errors.ts'
import { systemRandom } from '../../base/random.ts'
import type { Chunk } from '../../format/block.ts'
import { decodeContent } from '../../format/content.ts'
import { decodeManifest } from '../../format/manifest.ts'
import type { Change } from '../../model/change.ts'
import type { Moment } from '../../model/moment.ts'
import { rootPath, type TreePath } from '../../model/path.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import { directoryStore } from '../../store/directory.ts'
import { IndexThread } from '../index/index-thread.ts'
import type { Vault } from '../vault.ts'
import type { ViewService } from './service.ts'
import { ThreadedViews } from './threaded-views.ts'
import { waitingViews } from './waiting-views.ts'

const forever = new AbortController().signal
const latest = 'latest'

interface World {
  readonly vault: Vault
  readonly source: Id
  readonly directory: string
  readonly views: ViewService
  append(changes: readonly Change[], contents?: readonly Buffer[]): Promise<void>
}

/** A real vault in a folder, with the threads that a vault runs. */
async function inWorld(use: (world: World) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-views-'))
  const directory = join(folder, 'vault')
  try {
    const store = await directoryStore(directory)
    const cataloguePath = join(folder, 'catalogue')
    await using vault = await newTestVault({ store, clock: systemClock, random: systemRandom, cataloguePath })
    const { agent, source } = await addAgentWithSource(vault, 'web')
    const setup = { directory, indexFolder: join(folder, 'indexes'), keys: vault.readerKeys }
    await using indexes = new IndexThread({ setup, vault, clock: systemClock })
    await indexes.add(source, vault.registry.journalKey(source), vault.journal(source).durable)
    using _growing = vault.onDurable(({ source: grown, durable }) => indexes.grown(grown, durable))
    const journalKey = (of: Id): Uint8Array => vault.registry.journalKey(of)
    await using threads = new ThreadedViews({ setup, journalKey, progress: indexes, threads: 1 })
    const views = waitingViews(threads, indexes, new HeldClock())
    const appender = await vault.appender(agent, source, forever)
    const append = async (changes: readonly Change[], contents: readonly Buffer[] = []): Promise<void> => {
      if (contents.length > 0) await appender.block(blockOf(vault, ...contents).bytes)
      await appender.batch(batchOf(appender.durable + 1, changes))
    }
    await use({ vault, source, directory, views, append })
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const value of values) found.push(value)
  return found
}

async function* piecesOf(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes
}

const now = (): Moment => systemClock.now() as Moment
const path = (text: string): TreePath => text as TreePath
const withMode = (name: string, mode: number): Change => ({
  kind: 'put',
  path: path(name),
  attributes: { ...attributes, mode },
  content: { type: 'file', bytes: 0, extents: [] },
})

test('what is durable is seen at once through the threads of a vault, at every point', () =>
  inWorld(async ({ vault, source, views, append }) => {
    const contents = Array.from({ length: 40 }, () => randomBytes(20_000))
    for (const [index, content] of contents.entries()) {
      await append(
        [putFile(`d/f${index}`, blockOf(vault, content).chunks), write('log', index, Buffer.from('x'))],
        [content],
      )
      const { sequence } = await views.resolve(source, latest, now())
      assert.equal(sequence, index * 2 + 2)
    }
    const { sequence: at } = await views.resolve(source, 'seq:40', now())
    const entries = (await all(views.list(source, at, path('d')))).flat()
    assert.equal(entries.length, 20)
    assert.deepEqual(Buffer.concat(await all(views.content(source, at, path('d/f7'), 0, 20_000))), contents[7])
    assert.deepEqual(Buffer.concat(await all(views.content(source, at, path('log'), 18, 99))), Buffer.from('xx'))
    const requests = entries.map(({ path: file, bytes }) => ({ path: file, at: 0, bytes }))
    const expected = requests.map(({ path: file }) => contents[Number(file.slice(3))]!)
    assert.deepEqual(Buffer.concat(await all(views.read(source, at, requests))), Buffer.concat(expected))
    const told = (await all(decodeManifest(views.manifest(source, at, [path('d')])))).flat()
    assert.equal(told.length, 21)
    assert.deepEqual(await all(views.diff(source, at, 42 as Sequence, rootPath)), [
      { change: 'added', path: 'd/f20', type: 'file' },
      { change: 'content', path: 'log', type: 'file' },
    ])
    assert.equal((await all(views.history(source, path('log')))).length, 40)
    const last = (await all(views.verify(source, at))).at(-1)
    assert.deepEqual(last, { done: true, files: 21, filesTotal: 21, bytes: 400_020, bytesTotal: 400_020, failures: [] })
    const { files, bytes, changes } = await views.statistics(source)
    assert.deepEqual({ files, bytes, changes }, { files: 41, bytes: 800_040, changes: 80 })
    assert.deepEqual(
      (await views.points(source, { limit: 10 })).map(({ kind }) => kind),
      ['activity'],
    )
  }))

test('what is read as it rests is the same, and brings no byte that was not asked for', () =>
  inWorld(async ({ vault, source, views, append }) => {
    const contents = [1, 2, 3, 4].map((fill) => Buffer.alloc(30_000, `content ${fill} `))
    const [a, b, c, secret] = contents.map((data) => blockOf(vault, data).chunks) as [
      Chunk[],
      Chunk[],
      Chunk[],
      Chunk[],
    ]
    await append([putFile('whole', [...a, ...b]), write('hole', 100_000, Buffer.from('x'))], contents.slice(0, 2))
    await append([putFile('part', [...c, ...a]), putFile('secret', secret)], contents.slice(2))
    const { sequence: at } = await views.resolve(source, latest, now())
    const ask = async (...requests: { path: TreePath; at: number; bytes: number }[]) => {
      const resting = Buffer.concat(await all(views.readResting(source, at, requests)))
      const decoded = Buffer.concat(await all(decodeContent(piecesOf(resting))))
      assert.deepEqual(decoded, Buffer.concat(await all(views.read(source, at, requests))))
      return resting
    }
    const whole = { path: path('whole'), at: 0, bytes: 60_000 }
    const part = { path: path('part'), at: 0, bytes: 60_000 }
    assert.ok((await ask(whole)).length < 2_000, 'a block that is wanted whole stays compressed')
    const resting = await ask(part, whole, { path: path('hole'), at: 99_000, bytes: 1_001 })
    assert.ok(resting.length > 30_000, 'of a block that is wanted in part, the wanted chunks are told one by one')
    assert.equal(resting.includes('content 4'), false)
    await ask({ path: path('whole'), at: 29_000, bytes: 2_000 }, { path: path('secret'), at: 5, bytes: 1 })
    await assert.rejects(ask({ ...whole, bytes: 60_001 }), (error) => isCode(error, 'bad-request'))
  }))

test('errors and leaving early cross the threads', () =>
  inWorld(async ({ source, views, append }) => {
    await assert.rejects(views.resolve(source, latest, now()), (error) => isCode(error, 'point-unreachable'))
    await append([{ ...putFile('a', []) }])
    const { sequence: at } = await views.resolve(source, latest, now())
    await assert.rejects(views.stat(source, at, path('b')), (error) => isCode(error, 'not-found'))
    await assert.rejects(views.resolve(source, 'nonsense', now()), (error) => isCode(error, 'bad-request'))
    await assert.rejects(views.resolve(source, '2001-01-01', now()), (error) => isCode(error, 'point-unreachable'))
    await assert.rejects(views.stat(source, 99 as Sequence, path('a')), (error) => isCode(error, 'point-unreachable'))
    const stop = new AbortController()
    const reason = new Error('enough')
    stop.abort(reason)
    await assert.rejects(all(views.manifest(source, at, [], stop.signal)), reason)
    for await (const _piece of views.manifest(source, at, [])) break
    await assert.rejects(all(views.read(source, at, [{ path: path('a'), at: 0, bytes: 1 }])), (error) =>
      isCode(error, 'bad-request'),
    )
  }))

test('who compares or searches for long lets others in the same thread go first, and ends when it is left', () =>
  inWorld(async ({ source, views, append }) => {
    const names = Array.from({ length: 6_000 }, (_, at) => `f${at}`)
    for (const round of [0, 1, 2]) {
      for (let at = 0; at < names.length; at += 1000) {
        const mode = round === 1 ? 0o600 : 0o644
        await append(names.slice(at, at + 1000).map((name) => withMode(name, mode)))
      }
    }
    const { sequence: end } = await views.resolve(source, latest, now())
    const from = names.length as Sequence
    const request = { name: 'not there', within: rootPath, order: 'any', limit: 1 } as const
    const long = {
      diff: async (signal?: AbortSignal) => (await all(views.diff(source, from, end, rootPath, signal))).length,
      search: async (signal?: AbortSignal) =>
        (await all(views.search(source, request, signal))).flatMap(({ rows }) => rows).length,
    }
    for (const [what, begin] of Object.entries(long)) {
      const ended: string[] = []
      const asked = begin().then((found) => ended.push(`${what}: ${found} rows`))
      await views.stat(source, end, path('f7')).then(() => ended.push('stat'))
      await asked
      assert.deepEqual(ended, ['stat', `${what}: 0 rows`])
      const stop = new AbortController()
      const left = begin(stop.signal)
      stop.abort(new Error('enough'))
      await assert.rejects(left, /enough/)
    }
  }))

test('verification names what is damaged and goes on', () =>
  inWorld(async ({ vault, source, directory, views, append }) => {
    const contents = [randomBytes(50_000), randomBytes(50_000)]
    for (const [index, content] of contents.entries()) {
      await append([putFile(`f${index}`, blockOf(vault, content).chunks)], [content])
    }
    const [pack] = (await readdir(join(directory, 'packs'))).map((name) => join(directory, 'packs', name))
    const bytes = await readFile(pack!)
    bytes[70_000]! ^= 1
    await writeFile(pack!, bytes)
    const { sequence: at } = await views.resolve(source, latest, now())
    const last = (await all(views.verify(source, at))).at(-1)!
    assert.deepEqual(
      last.failures.map((failure) => failure.path),
      ['f1'],
    )
    assert.match(last.failures[0]!.message, /packs\//)
    assert.equal(last.files, 2)
    const wanted = ['f0', 'f1'].map((file) => ({ path: path(file), at: 0, bytes: 50_000 }))
    const read: Uint8Array[] = []
    await assert.rejects(
      async () => {
        for await (const piece of decodeContent(views.readResting(source, at, wanted))) read.push(piece)
      },
      (error) => isCode(error, 'damaged') && /packs\//.test(error.message),
    )
    assert.deepEqual(Buffer.concat(read), contents[0], 'what comes before the damage was told')
  }))
