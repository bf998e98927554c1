import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemRandom } from '../base/random.ts'
import { noHash } from '../format/sealed-file.ts'
import { sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { directoryStore } from './directory.ts'
import { hashOf, openSealed } from './sealed-reader.ts'
import { createSealed } from './sealed-writer.ts'

const owner = createSecretKey(randomBytes(32))
const header = { kind: 'segment', owner: '0'.repeat(32) as Id, number: 1, first: sequence(1), before: noHash } as const

test('what was added and sealed is read back in order, and the chain hash is that of the whole file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-sealed-'))
  try {
    const store = await directoryStore(folder)
    const writer = await createSealed({ store, random: systemRandom }, 'journals/a/1.segment', owner, header)
    const payloads = [1, 1000, 2_500_000].map((bytes) => randomBytes(bytes))
    for (const payload of payloads) {
      writer.add('batch', [payload.subarray(0, 1), payload.subarray(1)])
      await writer.sync()
    }
    const chain = await writer.seal(sequence(3))
    const reader = await openSealed(store, 'journals/a/1.segment', owner)
    const read: Buffer[] = []
    for await (const frame of reader.frames()) read.push(frame.payload)
    assert.deepEqual(read, payloads)
    assert.equal((await reader.seal())?.last, 3)
    assert.deepEqual(await hashOf(store, 'journals/a/1.segment'), chain)
  } finally {
    await rm(folder, { recursive: true })
  }
})
