import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { servedVault } from '../../test/support/served-vault.ts'
import { addAgentWithSource, batchOf, putFile } from '../../test/support/vault-world.ts'
import { apiPath } from '../api/client.ts'
import { measuresAnswer, spaceAnswer, stripsAnswer } from '../api/measures.ts'
import { sourceStatus } from '../api/schemas.ts'
import { systemClock } from '../base/clock.ts'
import { isCode } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import { isoMoment, type Moment } from '../model/moment.ts'
import { MeasureFile } from '../vault-server/measures/measure-file.ts'
import { addLook, nothingMeasured } from '../vault-server/measures/measured.ts'
import { measuresPath, socketName } from '../vault-server/place.ts'
import { makeProgram } from './program.ts'

const minuteUs = 60_000_000
const now = systemClock.now()
const thisHour = Math.floor(now / (60 * minuteUs)) * 60

/** A source that was measured in each of the two hours before this one: a minute in ten was late. */
async function measured(context: TestContext) {
  const vault = await servedVault(context, async (opened, directory) => {
    const { agent, source } = await addAgentWithSource(opened, 'ledger')
    await using appender = await opened.appender(agent, source, new AbortController().signal)
    await appender.batch(batchOf(1, [putFile('f', [])], now - 3_600_000_000))
    using file = new MeasureFile(measuresPath(directory))
    for (let minute = thisHour - 120; minute < thisHour; minute++) {
      const one = nothingMeasured()
      const isLate = minute % 10 === 0
      const look = { state: isLate ? 'late' : 'protected', lagMs: isLate ? 70_000 : 80, isLate } as const
      for (let second = 0; second < 60; second++) addLook(one, look)
      file.writeMinute(minute, new Map([[source, one]]))
    }
  })
  const run = async (...words: string[]): Promise<string> => {
    let told = ''
    const out = {
      write: (text: string | Uint8Array) => void (told += text),
      isTerminal: false,
      drained: async () => undefined,
    }
    const environment = { TIDEMARK_SOCKET: join(vault.directory, socketName) }
    const { signal } = new AbortController()
    const parts = { clock: systemClock, random: systemRandom, out, err: out, environment, isRoot: false, signal }
    await makeProgram({ ...parts, exitWith: () => undefined }).parseAsync(['node', 'tidemark', ...words])
    return told
  }
  return { ...vault, run }
}

test('the past of the lag is told by percentiles and step by step, and what was not measured is', async (context) => {
  const { run, operator } = await measured(context)
  const told = JSON.parse(await run('lag', 'ledger-files', '--last', '4h', '--json'))
  assert.deepEqual(told.lagMs, { p50: 100, p95: 70_000, p99: 70_000, max: 70_000 })
  assert.deepEqual([told.seconds, told.lateSeconds, told.notMeasuredSeconds], [7_200, 720, 7_200])
  assert.deepEqual(
    told.measures.map(({ seconds, worst }: { seconds: number; worst: string }) => [seconds, worst]),
    [
      [3_600, 'late'],
      [3_600, 'late'],
    ],
  )
  assert.match(
    await run('lag', 'ledger-files', '--last', '4h'),
    /^lag: half of the time up to 100 ms, 95 % up to 1 min/,
  )
  await assert.rejects(run('lag', 'ledger-files', '--last', '1s'), (error) => isCode(error, 'bad-request'))

  const span = {
    from: isoMoment(((thisHour - 120) * minuteUs) as Moment),
    to: isoMoment((thisHour * minuteUs) as Moment),
  }
  const minutes = { ...span, step: 'minute' }
  const path = apiPath('/v1/sources/ledger-files/measures', minutes)
  assert.equal((await operator.json('GET', path, measuresAnswer)).measures.length, 120)
  for (const [step, strip] of [
    ['five-minutes', 'b2'.repeat(12)],
    ['hour', 'bb'],
  ] as const) {
    const strips = await operator.json('GET', apiPath('/v1/measures', { ...span, step }), stripsAnswer)
    assert.deepEqual([strips.from, strips.sources.map((one) => one.strip)], [span.from, [strip]])
  }
  for (const wrong of [
    { ...span, to: span.from },
    { ...minutes, from: '2000-01-01T00:00:00.000000Z' },
  ]) {
    const asked = apiPath('/v1/sources/ledger-files/measures', { ...minutes, ...wrong })
    await assert.rejects(operator.json('GET', asked, measuresAnswer), (error) => isCode(error, 'bad-request'))
  }
})

test('a window is changed, and what a shorter one would delete is told first', async (context) => {
  const { run, operator } = await measured(context)
  assert.match(await run('window', 'ledger-files', '3d', '--preview'), /^would delete nothing/)
  assert.match(await run('window', 'ledger-files', '3d'), /kept for 3 d 0 h/)
  const { policy } = await operator.json('GET', '/v1/sources/ledger-files', sourceStatus)
  assert.equal(policy.windowMs, 3 * 86_400_000)
})

test('the room of a vault is told for people and for programs', async (context) => {
  const { run } = await measured(context)
  assert.match(await run('vault', 'space'), / free of .*\n.* save \d+ %\nhow it grows is not known yet.*\nSOURCE/)
  assert.equal(spaceAnswer.parse(JSON.parse(await run('vault', 'space', '--json'))).growthBytesPerDay, null)
})
