import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Clock, systemClock } from '../base/clock.ts'
import { isCode } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import { decodeFollowFrames, encodeFollowFrame, type FollowFrame } from '../format/follow.ts'
import { treePath } from '../model/path.ts'
import { sequence } from '../model/sequence.ts'
import { MemoryDisk } from '../store/memory.ts'
import { memoryVault } from '../../test/support/memory-vault.ts'
import { batchOf, collect, write } from '../../test/support/vault-world.ts'
import { followJournal } from './follow.ts'

/** Nobody is told of a silence, however slow the machine is. */
const patientClock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(1000 * ms, signal) }

const walPath = treePath('wal')
const some = (text: string): Buffer => Buffer.from(text)

async function world() {
  const made = await memoryVault(new MemoryDisk({ random: systemRandom }), {
    random: systemRandom,
    limits: { segmentBytes: 300 },
  })
  const stop = new AbortController()
  const appender = await made.vault.appender(made.agent, made.source, stop.signal)
  const frames = (after: number, paths = [walPath]): AsyncIterator<FollowFrame> =>
    followJournal(made.vault, patientClock, { source: made.source, after: sequence(after), paths }, stop.signal)[
      Symbol.asyncIterator
    ]()
  return { ...made, appender, stop, frames }
}

const next = async (frames: AsyncIterator<FollowFrame>): Promise<FollowFrame> => {
  const { value, done } = await frames.next()
  assert.ok(!done)
  return value
}

const told = (frame: FollowFrame): unknown =>
  frame.kind === 'changes'
    ? frame.changes.map(({ sequence: at, change }) => [at, change.kind === 'write' ? String(change.data) : change.kind])
    : frame.kind === 'alive'
      ? `alive through ${frame.through}`
      : frame.code

test('one who follows is told what is there, then what comes, each change once and only what touches its paths', async () => {
  const { vault, appender, stop, frames } = await world()
  await using _vault = vault
  await appender.batch(batchOf(1, [write('wal/1', 0, some('a')), write('base/1', 0, some('b'))]))
  await appender.batch(batchOf(3, [write('commits/1', 0, some('c')), write('wal/1', 1, some('d'))]))
  const all = frames(0)
  assert.deepEqual(told(await next(all)), [[1, 'a']])
  assert.deepEqual(told(await next(all)), [[4, 'd']])
  const rest = frames(1)
  assert.deepEqual(told(await next(rest)), [[4, 'd']])
  const coming = next(all)
  await appender.batch(batchOf(5, [write('walrus', 0, some('e'))]))
  assert.equal(told(await coming), 'alive through 5', 'what is passed over is told as passed')
  const more = next(all)
  await appender.batch(
    batchOf(6, [
      { kind: 'remove', path: walPath },
      { kind: 'rename', from: treePath('wal/1'), path: treePath('x') },
    ]),
  )
  assert.deepEqual(told(await more), [
    [6, 'remove'],
    [7, 'rename'],
  ])
  assert.equal(told(await next(frames(7))), 'alive through 7', 'one who has everything hears that at once')
  stop.abort()
})

test('what left the history and what has not happened are refused, and a source that is removed ends it', async () => {
  const { vault, source, appender, frames } = await world()
  await using _vault = vault
  await appender.batch(batchOf(1, [write('wal/1', 0, some('a'))]))
  await assert.rejects(frames(2).next(), (error) => isCode(error, 'point-unreachable'))
  const present = frames(0)
  await next(present)
  const end = next(present)
  await vault.removeSource(source)
  assert.equal(told(await end), 'not-found')
  assert.equal((await present.next()).done, true)
})

test('frames come back as they were told, cut anywhere', async () => {
  const { vault, appender, stop, frames } = await world()
  await using _vault = vault
  await appender.batch(batchOf(1, [write('wal/1', 0, Buffer.alloc(3000, 'x')), write('wal/2', 7, some('y'))]))
  const original = [
    await next(frames(0)),
    await next(frames(2)),
    { kind: 'end', code: 'damaged', message: 'ü', hint: '' } as const,
  ]
  stop.abort()
  const bytes = Buffer.concat(original.map(encodeFollowFrame))
  async function* cut(size: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
  }
  for (const size of [1, 3, 50, bytes.length]) {
    assert.deepEqual((await collect(decodeFollowFrames(cut(size)))).map(told), original.map(told))
  }
  async function* torn(): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, bytes.length - 1)
  }
  await assert.rejects(collect(decodeFollowFrames(torn())), /within a frame/)
})
