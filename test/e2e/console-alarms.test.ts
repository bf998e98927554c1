import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { type Alarm, alarm, auditRecord, channel, type Report, report } from '../../src/api/console.ts'
import { tokenAnswer } from '../../src/api/schemas.ts'
import { alarmReceiver } from '../support/alarm-receiver.ts'
import { type Browser, testConsole } from '../support/console-world.ts'
import { until } from '../support/until.ts'
import { World } from './harness.ts'

const toldWithinMs = 60_000

test('a stopped agent is an alarm and a message within a minute, and over when it is back', async (t) => {
  const world = await World.begin(t)
  const agent = await world.join('db-1')
  await agent.process.start()
  for (const name of ['orders', 'letters']) {
    const directory = world.directory(name)
    writeFileSync(join(directory, 'a'), 'b')
    await world.atAgent(agent, 'protect', 'files', directory, '--name', name)
  }
  for (const name of ['orders', 'letters']) await world.quietMoment(name)

  const console = await testConsole(t)
  const administrator = await console.signedIn('system-administrator')
  const operator = await console.signedIn('operator')
  const { token } = tokenAnswer.parse(JSON.parse((await world.atVault('vault', 'token', '--console', '--json')).out))
  await administrator.done('POST', '/api/vaults', { body: { url: `127.0.0.1:${world.port}`, token } })
  const { url, received } = await alarmReceiver(t, () => ({ text: '{"errcode":0}' }))
  const body = {
    kind: 'wecom',
    name: 'duty',
    url: `${url}/send?key=k`,
    language: 'zh-CN',
    severities: ['critical'],
    enabled: true,
  }
  const { id } = channel.parse(await administrator.done('POST', '/api/channels', { body }))
  assert.deepEqual(
    await administrator.done('POST', `/api/channels/${id}/test`).then((one) => (one as { taken: boolean }).taken),
    true,
  )

  const stop = new AbortController()
  const live: Alarm[] = []
  const reading = (async () => {
    for await (const event of operator.live(stop.signal)) if (event.kind === 'alarm') live.push(event.alarm)
  })()
  const began = performance.now()
  await agent.process.stop()
  await until('the alarm is there', async () => (await alarmsOf(operator, 'open=true')).length > 0)
  const raisedMs = performance.now() - began
  await until('the message is there', () => received.length === 2)
  const toldMs = performance.now() - began
  t.diagnostic(`raised after ${Math.round(raisedMs)} ms, told after ${Math.round(toldMs)} ms`)
  assert.ok(toldMs < toldWithinMs, `${toldMs} ms`)
  const [gone, ...others] = await alarmsOf(operator, 'open=true')
  assert.deepEqual([gone?.rule, gone?.agent, gone?.values['sources'], others], ['agent-gone', 'db-1', 2, []])
  assert.match(contentOf(received[1]?.body), /主站“db-1”与从站/)

  assert.equal(await administrator.refused('POST', `/api/alarms/${'0'.repeat(32)}/acknowledge`), 'not-found')
  await operator.done('POST', `/api/alarms/${gone?.id}/acknowledge`)
  assert.equal((await alarmsOf(operator, 'open=true'))[0]?.acknowledged?.by, 'the-operator')
  await agent.process.start()
  await until('it is over', async () => (await alarmsOf(operator, 'open=true')).length === 0)
  await until('that is told too', () => received.length === 3)
  assert.match(contentOf(received[2]?.body), /已恢复/)
  assert.deepEqual(
    live.map(({ ended, acknowledged }) => [ended !== null, acknowledged?.by]),
    [
      [false, undefined],
      [false, 'the-operator'],
      [true, 'the-operator'],
    ],
  )
  stop.abort()
  await reading

  const month = new Date().toISOString().slice(0, 7)
  const told = (): Promise<Report> => operator.read(`/api/reports/orders/${month}`, report)
  // The vault keeps what it measured once a minute.
  await until('it was measured', async () => ((await told()).sources[0]?.secondsMeasured ?? 0) > 0, 120_000)
  const { missing, sources } = await told()
  const [orders = assert.fail()] = sources
  assert.ok(orders.secondsMeasured > 0 && orders.secondsMeasured <= orders.secondsExpected + 60, JSON.stringify(orders))
  assert.ok(orders.lagMs.max !== null && missing.length === 0)
  const csv = await operator.ask('GET', `/api/reports/orders/${month}.csv?language=zh-CN`)
  assert.match(String(csv.headers['content-type']), /^text\/csv/)
  assert.match(csv.text, /^\u{feff}业务系统,orders\r\n/u)
  assert.equal(await operator.refused('GET', '/api/reports/nothing/2026-01'), 'not-found')

  const auditor = await console.signedIn('audit-administrator')
  const records = await auditor.read('/api/audit?limit=50', z.array(auditRecord))
  assert.ok(records.some(({ action, user }) => action === 'acknowledge' && user === 'the-operator'))
})

const alarmsOf = (browser: Browser, query: string): Promise<Alarm[]> =>
  browser.read(`/api/alarms?${query}`, z.array(alarm))
const contentOf = (body: unknown): string => (body as { text: { content: string } }).text.content
