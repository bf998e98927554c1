import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { until } from '../../test/support/until.ts'
import { systemClock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import { openFilesCapture } from '../capture/files/files-capture.ts'
import { decodeBatch } from '../format/batch.ts'
import { readBlockDirectory } from '../format/block.ts'
import { encodeManifest } from '../format/manifest.ts'
import { lastOf } from '../model/batch.ts'
import type { Change, ChunkId } from '../model/change.ts'
import { advance, beforeFirst, type Sequence } from '../model/sequence.ts'
import { defaultPolicy, type Id, type SourceDefinition } from '../model/source.ts'
import { linkPair } from '../wire/link-pair.ts'
import { Pace } from '../wire/pace.ts'
import type { Appender, AppenderRequest, VaultPort } from '../wire/ports.ts'
import { serveConnection } from '../wire/serve.ts'
import { Protection } from './protect.ts'

const agent = 'a'.repeat(32) as Id

/** Nothing, until the session ends. */
async function* asked(signal: AbortSignal): AsyncGenerator<AppenderRequest> {
  const requests: AppenderRequest[] = []
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  yield* requests
}

/** A vault that may say it has chunks which, when a batch comes, it has no more. */
class ForgetfulVault implements VaultPort {
  readonly id = 'e'.repeat(32) as Id
  readonly software = 'forgetful'
  readonly chunkKey = Buffer.alloc(32, 1)
  readonly changes: Change[] = []
  readonly chunks = new Set<ChunkId>()
  refused = 0
  claimsAll = false
  onRefused: (() => void) | undefined
  durable: Sequence = beforeFirst
  cursor: Uint8Array = Buffer.alloc(0)

  async *definitions(): AsyncGenerator<readonly SourceDefinition[]> {}

  control(): never {
    throw new Error('there is no control connection here')
  }

  async append(_agent: Id, _source: Id, signal: AbortSignal): Promise<Appender> {
    return appenderOf(this, signal)
  }
}

function appenderOf(vault: ForgetfulVault, signal: AbortSignal): Appender {
  return {
    get durable() {
      return vault.durable
    },
    get cursor() {
      return vault.cursor
    },
    stalled: false,
    missing: (ids) => ids.map((id) => !vault.claimsAll && !vault.chunks.has(id)),
    block: async (bytes) => {
      for (const { id } of readBlockDirectory(bytes).entries) vault.chunks.add(id)
    },
    batch: async (bytes) => {
      const batch = decodeBatch(bytes)
      if (lastOf(batch) <= vault.durable) return
      assert.equal(batch.first, advance(vault.durable, 1))
      for (const { change } of batch.changes) {
        const extents =
          change.kind === 'patch'
            ? change.extents
            : change.kind === 'put' && change.content.type === 'file'
              ? change.content.extents
              : []
        for (const extent of extents) {
          if (!('chunk' in extent) || vault.chunks.has(extent.chunk)) continue
          vault.refused++
          vault.claimsAll = false
          vault.onRefused?.()
          throw new TidemarkError('chunk-missing', { message: 'a chunk is not there' })
        }
      }
      vault.changes.push(...batch.changes.map(({ change }) => change))
      vault.durable = lastOf(batch)
      vault.cursor = Buffer.from(batch.cursor)
    },
    report: () => undefined,
    marked: () => undefined,
    requests: asked(signal),
    [Symbol.asyncDispose]: async () => undefined,
  }
}

async function protect(context: TestContext): Promise<{ vault: ForgetfulVault; top: string }> {
  const scratch = mkdtempSync(join(tmpdir(), 'tidemark-chunks-'))
  const top = join(scratch, 'source')
  mkdirSync(top)
  const vault = new ForgetfulVault()
  const stop = new AbortController()
  let chunkKey: Uint8Array | undefined
  const protection = new Protection({
    definition: {
      id: '5'.repeat(32) as Id,
      name: 'documents',
      kind: 'files',
      agent,
      paths: [top],
      exclude: [],
      policy: defaultPolicy,
      paused: false,
    },
    directory: join(scratch, 'agent'),
    software: 'test',
    spoolKey: createSecretKey(Buffer.alloc(32, 3)),
    spoolBytesMax: 1e9,
    openCapture: openFilesCapture,
    dial: async () => {
      const pair = linkPair({ pieceBytesMax: 64 * 1024, delayMsMax: 1, roomBytes: 1e7 }, systemClock, systemRandom)
      void serveConnection(pair.ends[1], { agent }, vault, systemClock, stop.signal)
      return pair.ends[0]
    },
    fetchManifest: async (_source, _at, into) => {
      const parts: Buffer[] = []
      for await (const part of encodeManifest([])) parts.push(part)
      writeFileSync(into, Buffer.concat(parts))
    },
    chunkKey: {
      get known() {
        return chunkKey
      },
      told: async (key) => void (chunkKey = key),
    },
    pace: new Pace([], systemClock),
    clock: systemClock,
    random: systemRandom,
  })
  const ended = protection.run(stop.signal)
  context.after(async () => {
    stop.abort()
    await ended
    rmSync(scratch, { recursive: true })
  })
  await until('the baseline is complete', () => isComplete(vault))
  return { vault, top }
}

const isComplete = ({ changes }: ForgetfulVault): boolean =>
  changes.some((change) => change.kind === 'mark' && change.mark.type === 'complete')
const hasHole = ({ changes }: ForgetfulVault): boolean =>
  changes.some((change) => change.kind === 'mark' && change.mark.type === 'hole')
const hasPut = ({ changes }: ForgetfulVault, name: string): boolean =>
  changes.some((change) => change.kind === 'put' && change.path.endsWith(name))

test(
  'a chunk that the vault has no more is read again from the file, and nothing is lost',
  { timeout: 900_000 },
  async (context) => {
    const { vault, top } = await protect(context)
    vault.claimsAll = true
    // So long that it is offered before it is sent.
    writeFileSync(join(top, 'one'), randomBytes(300_000))
    await until('the file is at the vault', () => hasPut(vault, '/one'))
    assert.equal(vault.refused, 1)
    assert.equal(hasHole(vault), false)
  },
)

test('where the file has changed since, there is a hole and all is compared', { timeout: 900_000 }, async (context) => {
  const { vault, top } = await protect(context)
  vault.claimsAll = true
  vault.onRefused = () => writeFileSync(join(top, 'one'), randomBytes(300_000))
  writeFileSync(join(top, 'one'), randomBytes(300_000))
  await until('the file and the hole are at the vault', () => hasPut(vault, '/one') && hasHole(vault))
})

test('a chunk is found under the name that its file has by now', { timeout: 900_000 }, async (context) => {
  const { vault, top } = await protect(context)
  vault.claimsAll = true
  vault.onRefused = () => renameSync(join(top, 'one'), join(top, 'renamed'))
  writeFileSync(join(top, 'one'), randomBytes(300_000))
  await until('the rename is at the vault', () => vault.changes.some((change) => change.kind === 'rename'))
  assert.equal(hasHole(vault), false)
})
