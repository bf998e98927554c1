import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { ConsoleWorld, needsBrowser } from './console-harness.ts'

const raisedMsMax = 60_000

test(
  'an agent that is stopped is an alarm on the screen within a minute, and over by itself when it is back',
  { skip: needsBrowser, timeout: 900_000 },
  async (t) => {
    const console = await ConsoleWorld.begin(t)
    const agent = await console.protectDocuments('web-1')
    const operator = await console.signedIn('operator')
    const { page } = operator
    const alarms = page.getByRole('region', { name: operator.t.overview.alarms })
    await alarms.waitFor()
    await page.getByText(operator.t.shell.live, { exact: true }).waitFor()
    assert.equal(await alarms.getByText('web-1').count(), 0)

    await agent.process.kill()
    const stopped = systemClock.now()
    await alarms
      .getByText('web-1')
      .first()
      .waitFor({ timeout: 2 * raisedMsMax })
    const [raised] = (await operator.ask('GET', '/api/alarms?open=true')).body as { rule: string; began: string }[]
    assert.equal(raised?.rule, 'agent-gone')
    assert.ok(Date.parse(raised.began) - stopped / 1000 < raisedMsMax, `${raised.began}`)

    await agent.process.start()
    await alarms
      .getByText(operator.t.overview.over)
      .first()
      .waitFor({ timeout: 2 * raisedMsMax })
    const left = (await operator.ask('GET', '/api/alarms?open=true')).body as { rule: string }[]
    assert.deepEqual(
      left.filter(({ rule }) => rule === 'agent-gone'),
      [],
    )
    await operator.close()
  },
)
