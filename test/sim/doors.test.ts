import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCode } from '../../src/base/errors.ts'
import type { Id, SourceDefinition } from '../../src/model/source.ts'
import { defaultPolicy } from '../../src/model/source.ts'
import { beforeFirst } from '../../src/model/sequence.ts'
import type { Link } from '../../src/wire/link.ts'
import { Life, MachineClock, SimulatedTime, Stuck } from './clock.ts'
import { SimulatedNetwork } from './network.ts'
import { History } from './oracle.ts'
import { Seeded } from './random.ts'
import { SimulatedSource } from './source.ts'
import { Trace } from './trace.ts'

const trace = new Trace()

test('a seed gives the same numbers again, and another seed gives others', () => {
  const draw = (seed: number) => Buffer.from(new Seeded(seed).bytes(32)).toString('hex')
  assert.equal(draw(7), draw(7))
  assert.notEqual(draw(7), draw(8))
})

test('time passes in order, and only when nothing else can run', async () => {
  const time = new SimulatedTime()
  const seen: string[] = []
  const sleeper = async (name: string, ms: number): Promise<void> => {
    await time.sleep(ms)
    seen.push(`${name} at ${time.nowMs}`)
  }
  await time.run(Promise.all([sleeper('late', 5000), sleeper('early', 1), sleeper('second of its instant', 1)]), 1e6)
  assert.deepEqual(seen, ['early at 1', 'second of its instant at 1', 'late at 5000'])
})

test('a world in which nothing can happen any more is a failure, not a wait', async () => {
  await assert.rejects(new SimulatedTime().run(new Promise(() => {}), 1e6), Stuck)
})

test('what a killed process waits for never comes', async () => {
  const time = new SimulatedTime()
  const life = new Life('agent', trace)
  const clock = new MachineClock(time, life, { us: 0 })
  let woken = false
  clock.sleep(10).then(
    () => (woken = true),
    () => (woken = true),
  )
  life.kill('test')
  await time.run(time.sleep(100), 1e6)
  assert.equal(woken, false)
})

async function connected(seed: number) {
  const time = new SimulatedTime()
  const network = new SimulatedNetwork(time, new Seeded(seed), trace)
  const accepted: Link[] = []
  network.listen('vault', new Life('vault', trace), (link) => void accepted.push(link))
  const near = await time.run(network.dial('agent', new Life('agent', trace), 'vault'), 1e6)
  return { time, network, near, far: accepted[0]! }
}

async function all(link: Link): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of link.received) pieces.push(piece)
  return Buffer.concat(pieces)
}

test('bytes arrive whole and in order, and an orderly close ends them', async () => {
  for (let seed = 0; seed < 20; seed++) {
    const { time, near, far } = await connected(seed)
    const bytes = Buffer.from(new Seeded(seed).bytes(300_000))
    const send = async (): Promise<void> => {
      for (let at = 0; at < bytes.length; at += 7001) await near.send([bytes.subarray(at, at + 7001)])
      await near[Symbol.asyncDispose]()
    }
    const [received] = await time.run(Promise.all([all(far), send()]), 1e6)
    assert.ok(received.equals(bytes))
  }
})

test('a cut is silence; what was sent arrives when it is healed, and a reset is told to both ends', async () => {
  const { time, network, near, far } = await connected(1)
  network.cut('agent', 'vault')
  await time.run(near.send([Buffer.from('late')]), 1e6)
  const piece = far.received[Symbol.asyncIterator]().next()
  let arrived = false
  piece.then(
    () => (arrived = true),
    () => {},
  )
  await time.run(time.sleep(60_000), 1e6)
  assert.equal(arrived, false)
  network.heal('agent', 'vault')
  await time.run(piece, 1e6)
  network.reset('vault', 'test')
  await assert.rejects(time.run(near.send([Buffer.from('x')]), 1e6), (error) => isCode(error, 'unreachable'))
  await assert.rejects(time.run(all(far), 1e6), (error) => isCode(error, 'unreachable'))
})

const definition: SourceDefinition = {
  id: '0'.repeat(32) as Id,
  agent: '1'.repeat(32) as Id,
  name: 'files',
  kind: 'files',
  paths: ['/a'],
  exclude: [],
  policy: defaultPolicy,
  paused: false,
}

test('a simulated capture says what happens at its source, and after a crash says what is left of it', async () => {
  for (let seed = 0; seed < 60; seed++) {
    const time = new SimulatedTime()
    const random = new Seeded(seed)
    const history = new History('files')
    const source = new SimulatedSource(definition, history, random, trace, (error) => time.fail(error))
    for (let life = 0; life < 4; life++) {
      const alive = new Life('agent', trace)
      const resumeAt = history.last
      const capture = source.open(
        {
          source: definition,
          stateDirectory: '',
          resumeAt,
          cursor: history.cursor,
          chunkKey: Buffer.alloc(32),
        },
        new MachineClock(time, alive, { us: 1e15 }),
        alive,
      )
      capture.line(true)
      let isWaiting = false
      const take = async (): Promise<void> => {
        for await (const output of capture.outputs) {
          if (output.kind === 'offer')
            capture.answer(
              output.tag,
              output.ids.map(() => true),
            )
          isWaiting ||= output.kind === 'manifest-wanted'
          await time.sleep(random.chance(0.02) ? 2000 : 5)
        }
      }
      take().catch((error: unknown) => time.fail(error))
      const work = async (): Promise<void> => {
        for (let steps = 0; steps < 80; steps++) {
          source.step()
          await time.sleep(random.integer(0, 40))
        }
        await time.sleep(5000)
      }
      await time.run(work(), 1e9)
      if (!isWaiting) assert.deepEqual(source.behind(), [])
      if (random.chance(0.5)) alive.kill('test')
      else await capture[Symbol.asyncDispose]()
    }
    assert.ok(history.last > beforeFirst)
  }
})
