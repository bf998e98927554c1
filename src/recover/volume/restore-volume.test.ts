import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Range } from '../../model/change.ts'
import { moment } from '../../model/moment.ts'
import { type Sequence, sequence } from '../../model/sequence.ts'
import { imageStateFile } from './image-state.ts'
import type { JournalStretch, RestStretch, VolumeOrigin } from './origin.ts'
import { VolumeIncomplete } from './receipt.ts'
import { restoreVolume, type VolumeRestoreRequest } from './restore-volume.ts'

const MiB = 1024 * 1024
const blockBytes = 4096
const never = new AbortController().signal

/** Where a block of the volume stands at the vault. */
type Rest = 'journal' | 'packs'

/** A volume at a point, its blocks where the test puts them. */
class OriginInMemory implements VolumeOrigin {
  readonly point = { at: sequence(10), moment: moment(1) }
  readonly bytes: number
  readonly blocks = new Map<number, { readonly data: Buffer; rest: Rest; isLost: boolean }>()
  /** Called before each stretch of the rest is told. */
  beforeRest: (at: number, signal: AbortSignal) => Promise<void> = () => Promise.resolve()

  constructor(bytes: number) {
    this.bytes = bytes
  }

  put(at: number, byte: number, rest: Rest): void {
    this.blocks.set(at, { data: Buffer.alloc(blockBytes, byte), rest, isLost: false })
  }

  get image(): Buffer {
    const image = Buffer.alloc(this.bytes)
    for (const [at, { data }] of this.blocks) data.copy(image, at)
    return image
  }

  read(ranges: readonly Range[], signal: AbortSignal): AsyncIterable<RestStretch> {
    return this.readRest(ranges, signal)
  }

  async *readJournal(after: Sequence): AsyncGenerator<JournalStretch> {
    assert.ok(after <= this.point.at)
    for (const [at, { data, rest, isLost }] of this.blocks) {
      if (rest !== 'journal') continue
      if (isLost) yield { kind: 'lost', at, bytes: blockBytes, message: 'it is damaged' }
      else yield { kind: 'data', at, bytes: blockBytes, data }
    }
  }

  async *readRest(ranges: readonly Range[], signal: AbortSignal): AsyncGenerator<RestStretch> {
    for (const range of ranges) {
      for (let at = range.at; at < range.at + range.bytes; at += blockBytes) {
        await this.beforeRest(at, signal)
        signal.throwIfAborted()
        const block = this.blocks.get(at)
        if (block === undefined) yield { at, bytes: blockBytes }
        else if (block.rest === 'journal') yield { at, bytes: blockBytes, isInJournal: true }
        else yield { at, bytes: blockBytes, data: block.data }
      }
    }
  }

  extents(): never {
    throw new Error('a restore does not ask for them')
  }
}

interface World {
  readonly target: string
  readonly origin: OriginInMemory
  restored(how?: Partial<VolumeRestoreRequest>): Promise<unknown>
}

function begin(t: TestContext, bytes: number): World {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-image-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const target = join(folder, 'disk.img')
  const origin = new OriginInMemory(bytes)
  return {
    target,
    origin,
    restored: (how = {}) =>
      restoreVolume(
        { source: 'disk', target, resume: false, delta: false, force: false, ...how },
        { origin, clock: systemClock, tell: () => {} },
        never,
      ),
  }
}

const brokenAt =
  (place: number) =>
  (at: number): Promise<void> =>
    at < place
      ? Promise.resolve()
      : Promise.reject(new TidemarkError('unreachable', { message: 'the connection broke' }))

test('what was put in the place of an unfinished image is neither gone on with nor given up', async (t) => {
  const { target, origin, restored } = begin(t, MiB)
  origin.put(0, 1, 'packs')
  origin.put(MiB - blockBytes, 2, 'packs')
  for (const bytes of [MiB / 2, MiB, 2 * MiB]) {
    origin.beforeRest = brokenAt(MiB / 2)
    await assert.rejects(restored({ force: true }), { code: 'unreachable' })
    assert.ok(existsSync(imageStateFile(target)))
    const other = Buffer.alloc(bytes, 7)
    rmSync(target)
    writeFileSync(target, other)
    origin.beforeRest = () => Promise.resolve()
    await assert.rejects(restored({ resume: true }), { code: 'target-not-empty' })
    assert.ok(readFileSync(target).equals(other), `${bytes} bytes of something else`)
    await restored({ force: true })
    assert.ok(readFileSync(target).equals(origin.image))
  }
})

test('an unfinished image that was taken away is begun again', async (t) => {
  const { target, origin, restored } = begin(t, MiB)
  origin.put(0, 1, 'journal')
  origin.put(MiB - blockBytes, 2, 'packs')
  origin.beforeRest = brokenAt(MiB / 2)
  await assert.rejects(restored(), { code: 'unreachable' })
  rmSync(target)
  origin.beforeRest = () => Promise.resolve()
  await restored({ resume: true })
  assert.ok(readFileSync(target).equals(origin.image))
})

test('what was lost in the journal is restored by the next run, wherever retention has moved it meanwhile', async (t) => {
  const { target, origin, restored } = begin(t, MiB)
  origin.put(0, 1, 'packs')
  origin.put(blockBytes, 2, 'journal')
  const block = origin.blocks.get(blockBytes)
  assert.ok(block)
  block.isLost = true
  const failure = await restored().catch((error: unknown) => error)
  assert.ok(failure instanceof VolumeIncomplete, String(failure))
  assert.deepEqual(
    failure.receipt.failures.map(({ at }) => at),
    [blockBytes],
  )
  block.isLost = false
  block.rest = 'packs'
  await restored({ resume: true })
  assert.ok(readFileSync(target).equals(origin.image))
})

test('a restore that is refused because another works on the target leaves that one its state', async (t) => {
  const { target, origin, restored } = begin(t, MiB)
  origin.put(0, 1, 'packs')
  const reached = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  origin.beforeRest = async (at) => {
    if (at !== MiB / 2) return
    reached.resolve()
    await goOn.promise
  }
  const first = restored()
  await reached.promise
  for (const how of [{ force: true }, { delta: true }, { resume: true }]) {
    await assert.rejects(restored(how), { code: 'already-running' })
    assert.ok(existsSync(imageStateFile(target)), 'killed now, the image must not pass for whole')
  }
  goOn.resolve()
  await first
  assert.ok(readFileSync(target).equals(origin.image))
})

test('nothing is read for an image, or written to it, any more once its restore has failed', async (t) => {
  const { origin, restored } = begin(t, 128 * MiB)
  const isHeld = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  let readsAfter = 0
  let isOver = false
  origin.beforeRest = async (at, signal) => {
    if (isOver) readsAfter++
    if (at === 64 * MiB) {
      await isHeld.promise
      throw new TidemarkError('unreachable', { message: 'the connection broke' })
    }
    if (at !== 0) return
    isHeld.resolve()
    await Promise.race([goOn.promise, once(signal, 'abort')])
  }
  await assert.rejects(restored(), { code: 'unreachable' })
  isOver = true
  goOn.resolve()
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(readsAfter, 0)
})

test('a note of an unfinished image that cannot be read is told as such', async (t) => {
  const { target, origin, restored } = begin(t, MiB)
  origin.put(0, 1, 'packs')
  writeFileSync(imageStateFile(target), '{"version": 1,')
  await assert.rejects(restored({ resume: true }), { code: 'unsupported-format' })
})
