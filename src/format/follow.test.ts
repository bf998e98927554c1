import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Malformed } from '../base/bytes.ts'
import { moment } from '../model/moment.ts'
import { treePath } from '../model/path.ts'
import { sequence } from '../model/sequence.ts'
import { decodeFollowFrames, encodeFollowFrame, type FollowFrame } from './follow.ts'

const frame: FollowFrame = {
  kind: 'changes',
  through: sequence(9),
  settled: true,
  received: moment(1_700_000_000_000_000),
  cursor: Buffer.from('cursor'),
  changes: [
    { sequence: sequence(5), moment: moment(1_600_000_000_000_000), change: { kind: 'remove', path: treePath('a') } },
    {
      sequence: sequence(8),
      moment: moment(1_600_000_000_000_001),
      change: { kind: 'write', path: treePath('wal/1'), at: 7, data: Buffer.from('x') },
    },
  ],
}

async function read(bytes: Uint8Array): Promise<FollowFrame[]> {
  const frames: FollowFrame[] = []
  async function* whole(): AsyncGenerator<Uint8Array> {
    yield bytes
  }
  for await (const one of decodeFollowFrames(whole())) frames.push(one)
  return frames
}

const readOrMalformed = async (bytes: Uint8Array): Promise<void> => {
  try {
    await read(bytes)
  } catch (error) {
    assert.ok(error instanceof Malformed, String(error))
  }
}

test('frames are read as they were written', async () => {
  const end: FollowFrame = { kind: 'end', code: 'not-found', message: 'removed', hint: '' }
  const alive: FollowFrame = { kind: 'alive', through: sequence(9), now: moment(1) }
  assert.deepEqual(await read(Buffer.concat([frame, alive, end].map(encodeFollowFrame))), [frame, alive, end])
})

test('any bytes, and frames with any byte changed, are read or refused as malformed', async () => {
  const good = encodeFollowFrame(frame)
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.nat(good.length - 1), fc.nat(255), async (any, at, byte) => {
      await readOrMalformed(any)
      const changed = Buffer.from(good)
      changed[at] = byte
      await readOrMalformed(changed)
    }),
    { numRuns: 500 },
  )
})
