import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { addAgentWithSource, batchOf, blockOf, newTestVault, putFile, start } from '../../test/support/vault-world.ts'
import { until } from '../../test/support/until.ts'
import type { Clock } from '../base/clock.ts'
import { isCode } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import type { Chunk } from '../format/block.ts'
import { moment } from '../model/moment.ts'
import { defaultPolicy } from '../model/source.ts'
import { directoryStore } from '../store/directory.ts'
import type { Vault } from '../vault/vault.ts'
import { openDerived } from './derived.ts'
import { HeldPoints } from './held-points.ts'
import { derivedFolder } from './place.ts'
import { keepRetention } from './retention.ts'

const hourMs = 3_600_000

/** A clock on which every rest takes a moment, and ten minutes longer than was asked for; from `heldAtMs` on, no time. */
class HurryingClock implements Clock {
  ms = 0
  heldAtMs = 0

  now(): number {
    return start + this.ms * 1000
  }

  monotonicMs(): number {
    return this.ms
  }

  async sleep(restMs: number, signal?: AbortSignal): Promise<void> {
    await setTimeout(1, undefined, signal === undefined ? {} : { signal })
    if (this.ms < this.heldAtMs) this.ms += restMs + 10 * 60_000
  }
}

const isThere = (vault: Vault, { id }: Chunk): Promise<boolean> =>
  vault.chunks.read(id).then(
    () => true,
    (error: unknown) => {
      if (isCode(error, 'not-found')) return false
      throw error
    },
  )

test('chunks of a source that was removed, and chunks never referred to, go a day after they were last touched', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-retention-'))
  try {
    await mkdir(derivedFolder(directory))
    const clock = new HurryingClock()
    const parts = {
      store: await directoryStore(directory),
      clock,
      random: systemRandom,
      cataloguePath: join(derivedFolder(directory), 'catalogue'),
      limits: { packBytes: 20_000 },
    }
    await using vault = await newTestVault(parts)
    const kept = await addAgentWithSource(vault, 'kept')
    const ended = await addAgentWithSource(vault, 'ended')
    const send = async (of: typeof kept, isReferred: boolean): Promise<Chunk> => {
      const { chunks, bytes } = blockOf(vault, systemRandom.bytes(30_000))
      await using appender = await vault.appender(of.agent, of.source, new AbortController().signal)
      await appender.block(bytes)
      if (isReferred) await appender.batch(batchOf(1, [putFile('f', chunks)]))
      return chunks[0]!
    }
    const referred = await send(kept, true)
    const ofEnded = await send(ended, true)
    const stray = await send(kept, false)
    const policy = { ...defaultPolicy, windowMs: hourMs }
    await vault.registry.changeSource(ended.source, { retired: moment(clock.now()), policy })

    const told: string[] = []
    const tell = (line: string): void => void told.push(line)
    const runParts = { clock, random: systemRandom, tell, held: new HeldPoints(clock) }
    await using derived = await openDerived(vault, directory, runParts)
    const stop = new AbortController()
    const keeping = keepRetention(derived, vault, runParts, stop.signal)
    clock.heldAtMs = 20 * hourMs
    await until('twenty hours have passed', () => clock.ms >= clock.heldAtMs)
    await until('the source is removed', async () => {
      const derivedNames = await readdir(derivedFolder(directory))
      return vault.registry.sources.length === 1 && derivedNames.every((name) => !name.startsWith(ended.source))
    })
    assert.equal(vault.registry.sources[0]?.id, kept.source)
    for (const chunk of [referred, ofEnded, stray]) assert.ok(await isThere(vault, chunk))
    // However many rests others take during a collection: one comes in the end.
    clock.heldAtMs = Infinity
    await until('what nobody needs is gone', async () => {
      for (const chunk of [ofEnded, stray]) if (await isThere(vault, chunk)) return false
      return true
    })
    stop.abort()
    await keeping
    assert.ok(await isThere(vault, referred))
    assert.ok(
      told.every((line) => /is forgotten|were freed/.test(line)),
      told.join('\n'),
    )
  } finally {
    await rm(directory, { recursive: true })
  }
})
