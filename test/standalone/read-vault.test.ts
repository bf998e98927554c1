import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { encodeBlock } from '../../src/format/block.ts'
import { chunkIdOf } from '../../src/format/keys.ts'
import { createSecretKey } from 'node:crypto'
import type { Change, ChunkId, Extent } from '../../src/model/change.ts'
import { moment } from '../../src/model/moment.ts'
import { isWithin, stagingName, type TreePath } from '../../src/model/path.ts'
import { sequence } from '../../src/model/sequence.ts'
import { directoryStore } from '../../src/store/directory.ts'
import { Vault, createVault } from '../../src/vault/vault.ts'
import { createKeyFile, newPassphraseOrigin, passphraseKey } from '../../src/vault/vault-key.ts'
import { RandomChanges, seeded } from '../oracle/random-changes.ts'
import { applyToOracle, copyTree, emptyTree, type OracleTree } from '../oracle/tree-oracle.ts'
import { addAgentWithSource, batchOf, start } from '../support/vault-world.ts'

const run = promisify(execFile)
const program = join(import.meta.dirname, 'read-vault.mjs')
const limits = { segmentBytes: 8000, packBytes: 10_000 }
const changeCount = 400

interface Written {
  readonly folder: string
  readonly source: string
  /** The tree after each sequence that is asked for. */
  readonly trees: Map<number, OracleTree>
}

/** A vault with a random history, left in order or in the middle of its work. */
async function writtenVault(
  folder: string,
  seed: number,
  told: { drop: boolean; close: boolean; passphrase?: string },
): Promise<Written> {
  const chance = seeded(seed)
  const store = await directoryStore(join(folder, 'vault'))
  const origin = newPassphraseOrigin(systemRandom)
  const key = told.passphrase
    ? await passphraseKey(told.passphrase, origin)
    : await createKeyFile(join(folder, 'vault', 'vault.key'), systemRandom)
  await createVault(
    { store, key, random: systemRandom },
    { name: 'v', keyOrigin: told.passphrase ? origin : { from: 'file' } },
  )
  const parts = {
    store,
    key,
    clock: systemClock,
    random: systemRandom,
    cataloguePath: join(folder, 'catalogue'),
    limits,
  }
  const vault = await Vault.open(parts)
  const { agent, source } = await addAgentWithSource(vault, 'web')
  const appender = await vault.appender(agent, source, new AbortController().signal)

  const random = new RandomChanges(chance)
  const chunkKey = createSecretKey(vault.chunkKey)
  const chunkOf = new Map<ChunkId, Buffer>()
  const tree = emptyTree()
  const trees = new Map<number, OracleTree>()
  for (let first = 1; first <= changeCount;) {
    const changes: Change[] = []
    const sent: { id: ChunkId; data: Buffer }[] = []
    for (let count = 1 + chance.below(12); count > 0 && first + changes.length <= changeCount; count--) {
      const change = named(random.next(), (id) => {
        const data = random.chunks.get(id)!
        const name = chunkIdOf(chunkKey, data)
        chunkOf.set(name, data)
        sent.push({ id: name, data })
        return name
      })
      changes.push(change)
      applyToOracle(tree, change, (id) => chunkOf.get(id)!)
    }
    if (sent.length > 0) await appender.block(encodeBlock(sent))
    await appender.batch(batchOf(first, changes))
    first += changes.length
    trees.set(first - 1, copyTree(tree))
    if (told.drop && trees.size === 20) await dropBefore(vault, source, first - 1, tree, chunkOf, appender)
  }
  if (told.close) await vault[Symbol.asyncDispose]()
  return { folder, source, trees }
}

/** Changes name chunks by what the generator made up; here they get their true names. */
function named(change: Change, name: (id: ChunkId) => ChunkId): Change {
  const extents = (all: readonly Extent[]): Extent[] =>
    all.map((extent) => ('chunk' in extent ? { ...extent, chunk: name(extent.chunk) } : extent))
  if (change.kind === 'patch') return { ...change, extents: extents(change.extents) }
  if (change.kind !== 'put' || change.content.type !== 'file') return change
  return { ...change, content: { ...change.content, extents: extents(change.content.extents) } }
}

/** A checkpoint as retention writes it, with everything before it gone. */
async function dropBefore(
  vault: Vault,
  source: Awaited<ReturnType<typeof addAgentWithSource>>['source'],
  at: number,
  tree: OracleTree,
  chunkOf: Map<ChunkId, Buffer>,
  appender: Awaited<ReturnType<Vault['appender']>>,
): Promise<void> {
  const chunkKey = createSecretKey(vault.chunkKey)
  const told = new Map<number, TreePath>()
  const changes: Change[] = []
  for (const [path, id] of [...tree.names].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const node = tree.nodes.get(id)!
    const first = told.get(id)
    if (first !== undefined) {
      changes.push({ kind: 'link', path, to: first })
      continue
    }
    if (node.type !== 'directory') told.set(id, path)
    const { attributes, bytes, particulars } = node
    if (node.type === 'file') {
      const chunk = chunkIdOf(chunkKey, bytes)
      if (bytes.length > 0) {
        chunkOf.set(chunk, bytes)
        await appender.block(encodeBlock([{ id: chunk, data: bytes }]))
      }
      const extents = bytes.length > 0 ? [{ at: 0, bytes: bytes.length, chunk }] : []
      changes.push({ kind: 'put', path, attributes, content: { type: 'file', bytes: bytes.length, extents } })
    } else if (node.type === 'directory')
      changes.push({ kind: 'put', path, attributes, content: { type: 'directory' } })
    else if (node.type === 'symlink') {
      changes.push({ kind: 'put', path, attributes, content: { type: 'symlink', target: particulars as TreePath } })
    }
  }
  const journal = vault.journal(source)
  await journal.writeCheckpoint(sequence(at), moment(start + at), changes)
  await journal.dropBefore(sequence(at))
}

async function compare({ folder, trees }: Written, at: number, environment?: Record<string, string>): Promise<void> {
  const target = join(folder, `tree-${at}`)
  const until = at === changeCount ? 'latest' : String(at)
  await run(process.execPath, [program, join(folder, 'vault'), 'web-files', until, target], { env: { ...environment } })
  const { names, nodes } = trees.get(at)!
  const inodes = new Map<number, number>()
  const expected: string[] = []
  for (const [path, id] of names) {
    const node = nodes.get(id)!
    if (path === '' || isWithin(path, stagingName as TreePath)) continue
    if (!['file', 'directory', 'symlink'].includes(node.type)) continue
    expected.push(path)
    const onDisk = Buffer.concat([Buffer.from(`${target}/`), Buffer.from(path, 'latin1')])
    const found = await lstat(onDisk)
    const shown = `${path} at ${at}`
    if (node.type === 'file') {
      assert.ok(found.isFile(), shown)
      assert.deepEqual(await readFile(onDisk), node.bytes, shown)
      assert.equal(inodes.get(id) ?? found.ino, found.ino, shown)
      inodes.set(id, found.ino)
    } else if (node.type === 'symlink') {
      assert.equal((await readlink(onDisk, 'buffer')).toString('latin1'), node.particulars, shown)
    } else assert.ok(found.isDirectory(), shown)
    if (node.type !== 'symlink') assert.equal(found.mode & 0o7777, node.attributes.mode, shown)
    assert.ok(Math.abs(found.mtimeMs - Number(node.attributes.modifiedNs) / 1e6) < 0.01, shown)
  }
  assert.deepEqual((await namesBelow(target, '')).sort(), expected.sort())
  await rm(target, { recursive: true })
}

/** Names as binary strings. */
async function namesBelow(root: string, folder: string): Promise<string[]> {
  const names: string[] = []
  const path = Buffer.concat([Buffer.from(root), Buffer.from(`/${folder}`, 'latin1')])
  for (const entry of await readdir(path, { withFileTypes: true, encoding: 'buffer' })) {
    const name = folder + entry.name.toString('latin1')
    names.push(name)
    if (entry.isDirectory()) names.push(...(await namesBelow(root, `${name}/`)))
  }
  return names
}

for (const [seed, told] of [
  [1, { drop: false, close: true }],
  [2, { drop: true, close: true }],
  [3, { drop: false, close: false }],
  [4, { drop: false, close: true, passphrase: 'a büchse of ünicode' }],
] as const) {
  test(`a program written by the page alone reads a vault: ${JSON.stringify(told)}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-standalone-'))
    try {
      await mkdir(join(folder, 'vault'))
      const written = await writtenVault(folder, seed, told)
      const environment = 'passphrase' in told ? { PASSPHRASE: told.passphrase } : {}
      const ats = [...written.trees.keys()].slice(told.drop ? 20 : 0)
      for (const at of new Set([ats[0]!, ats[ats.length >> 1]!, changeCount])) await compare(written, at, environment)
      if (seed === 1) await assertNotFooled(written)
    } finally {
      await rm(folder, { recursive: true })
    }
  })
}

async function assertNotFooled({ folder, source }: Written): Promise<void> {
  const name = join(folder, 'vault', 'journals', source, '0000000000000001.segment')
  const bytes = await readFile(name)
  bytes[1000]! ^= 1
  await writeFile(name, bytes)
  const args = [program, join(folder, 'vault'), source, 'latest', join(folder, 'never')]
  await assert.rejects(run(process.execPath, args), /segment is damaged at byte \d+/)
}
