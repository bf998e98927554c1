import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { alarmReceiver, type Answering } from '../../../test/support/alarm-receiver.ts'
import { JumpingClock } from '../../../test/support/jumping-clock.ts'
import { until } from '../../../test/support/until.ts'
import { alarmAt } from '../../../test/support/vault-seen.ts'
import type { Channel, ChannelRequest } from '../../api/console.ts'
import { systemRandom } from '../../base/random.ts'
import type { Moment } from '../../model/moment.ts'
import { Database } from '../database.ts'
import { Sealing } from '../sealing.ts'
import { ChannelTable } from './channel-table.ts'
import { Courier } from './courier.ts'
import type { Told } from './message.ts'
import { Outbox, triedForMs, waitingMax } from './outbox.ts'

const ok: Answering = { text: '{"errcode":0}' }

function world(context: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-courier-'))
  context.after(() => rmSync(directory, { recursive: true, force: true }))
  const path = join(directory, 'console.sqlite')
  const clock = new JumpingClock()
  const now = (): Moment => clock.now() as Moment
  const open = () => {
    const database = new Database(path)
    const random = systemRandom
    const channels = new ChannelTable({
      database,
      random,
      sealing: new Sealing(createSecretKey(Buffer.alloc(32, 5)), random),
    })
    const outbox = new Outbox(database)
    const said: string[] = []
    const courier = new Courier({
      channels,
      outbox,
      clock,
      random,
      tell: (line) => said.push(line),
      paceMs: { gather: 50, between: 20 },
    })
    const stop = new AbortController()
    const ended = courier.run(stop.signal)
    ended.catch(() => undefined)
    let isOpen = true
    const close = async (): Promise<void> => {
      if (!isOpen) return
      isOpen = false
      stop.abort(new Error('the test is over'))
      await assert.rejects(ended, stop.signal.reason as Error)
      database[Symbol.dispose]()
    }
    context.after(close)
    const tell = (...told: Told[]): void => {
      database.atomically(() => outbox.add(channels.list(), told, now()))
      courier.wake()
    }
    return { database, channels, outbox, courier, said, tell, close }
  }
  return { path, clock, now, open }
}

const hook = (url: string, other: Partial<ChannelRequest> = {}): ChannelRequest =>
  ({
    kind: 'dingtalk',
    name: 'duty',
    language: 'en',
    severities: ['critical', 'warning'],
    enabled: true,
    url,
    ...other,
  }) as ChannelRequest

const raised = (number: number): Told => ({ event: 'raised', alarm: alarmAt(number) })
const resolved = (number: number): Told => ({ event: 'resolved', alarm: alarmAt(number, { ended: alarmAt(0).began }) })
const contentOf = (body: unknown): string => (body as { text: { content: string } }).text.content

test('what is told is sent, what is over too, and a burst as one message', async (context) => {
  const { open, now } = world(context)
  const { channels, tell } = open()
  const { url, received } = await alarmReceiver(context, () => ok)
  const { id } = channels.add(hook(url), now())
  tell(raised(1))
  await until('the first is there', () => received.length === 1)
  assert.match(contentOf(received[0]?.body), /Critical: agent "db-1" is gone/)
  tell(...Array.from({ length: 29 }, (_, at) => raised(at + 2)), resolved(1))
  await until('nothing waits', () => channels.demand(id).state.waiting === 0)
  assert.equal(received.length, 2)
  assert.match(contentOf(received[1]?.body), /20 more/)
  tell(resolved(2))
  await until('the end is told', () => received.length === 3)
  assert.match(contentOf(received[2]?.body), /Over after/)
})

test('a channel hears only how bad it wants, and nothing while it is off', async (context) => {
  const { open, now } = world(context)
  const { channels, tell } = open()
  const { url } = await alarmReceiver(context, () => ({ text: '', isSilent: true }))
  const { id } = channels.add(hook(url, { severities: ['warning'] }), now())
  channels.add(hook(url, { enabled: false }), now())
  tell(
    raised(1),
    { event: 'raised', alarm: alarmAt(2, { severity: 'warning' }) },
    { event: 'raised', alarm: alarmAt(3, { severity: 'information' }) },
  )
  assert.deepEqual(
    channels.list().map((one) => [one.id === id, one.state.waiting]),
    [
      [true, 1],
      [false, 0],
    ],
  )
})

test('what is not taken is tried again after growing pauses, and the reason is told until it is', async (context) => {
  const { open, now, clock } = world(context)
  const { channels, tell, said } = open()
  const { url, received } = await alarmReceiver(context, (_one, count) =>
    count <= 2
      ? { status: 500, text: 'out of order' }
      : count === 3
        ? { text: '{"errcode":130101,"errmsg":"send too fast"}' }
        : ok,
  )
  const { id } = channels.add(hook(url), now())
  tell(raised(1))
  const state = (): Channel['state'] => channels.demand(id).state
  const pauses: number[] = []
  for (let tries = 1; tries <= 3; tries++) {
    await until(`try ${tries} has failed`, () => state().tries === tries)
    assert.match(state().lastError ?? '', tries < 3 ? /500 out of order/ : /130101 send too fast/)
    pauses.push(Date.parse(state().nextTry ?? '') * 1000 - now())
    clock.jump(90_000)
  }
  assert.ok(pauses[0]! < 10e6 && pauses[1]! > 10e6 && pauses[2]! > 40e6, pauses.join(' '))
  await until('it is taken', () => state().waiting === 0)
  assert.deepEqual([received.length, state().tries, state().lastError, said.length], [4, 0, null, 3])
  assert.ok(state().lastSent !== null)
})

test('a channel that hangs keeps no other waiting', async (context) => {
  const { open, now } = world(context)
  const { channels, tell } = open()
  const silent = await alarmReceiver(context, () => ({ text: '', isSilent: true }))
  const good = await alarmReceiver(context, () => ok)
  channels.add(hook(silent.url), now())
  channels.add(hook(good.url), now())
  tell(raised(1))
  await until('the silent one is asked', () => silent.received.length === 1)
  for (let at = 1; at <= 3; at++) {
    await until('the good one has it', () => good.received.length === at)
    tell(raised(at + 1))
  }
})

test('what waits survives the end of the console', async (context) => {
  const { open, now } = world(context)
  const first = open()
  let isUp = false
  const { url, received } = await alarmReceiver(context, () => (isUp ? ok : { status: 503, text: '' }))
  const { id } = first.channels.add(hook(url), now())
  first.tell(raised(1))
  await until('it was tried', () => first.channels.demand(id).state.tries > 0)
  await first.close()
  isUp = true
  const again = open()
  assert.equal(again.channels.demand(id).state.waiting, 1)
  // Whoever changes the channel does not want to wait for the pause.
  again.channels.change(id, hook(url))
  again.courier.wake()
  await until('it is taken', () => again.channels.demand(id).state.waiting === 0)
  assert.match(contentOf(received.at(-1)?.body), /agent "db-1" is gone/)
})

test('no more than a thousand wait, none of them for more than a day, and how many were given up is told', async (context) => {
  const { open, now, clock } = world(context)
  const { channels, tell, outbox } = open()
  let isUp = false
  const { url, received } = await alarmReceiver(context, () => (isUp ? ok : { status: 500, text: '' }))
  const { id } = channels.add(hook(url), now())
  tell(...Array.from({ length: waitingMax + 200 }, (_, at) => raised(at)))
  await until('it was tried', () => channels.demand(id).state.tries > 0)
  assert.equal(channels.demand(id).state.waiting, waitingMax)
  clock.jump(triedForMs + 60_000)
  assert.equal(outbox.next(id, now()), undefined)
  assert.equal(channels.demand(id).state.waiting, 0)
  isUp = true
  tell(raised(5000))
  await until('the next one is taken', () => received.length > 0 && channels.demand(id).state.waiting === 0)
  assert.match(contentOf(received.at(-1)?.body), /1200 messages could not be sent in time/)
})

test('a test tells what the receiver says, at once and without waiting for what waits', async (context) => {
  const { open, now } = world(context)
  const { channels, courier } = open()
  const { url, received } = await alarmReceiver(context, (_one, count) =>
    count === 1 ? ok : { text: '{"errcode":310000,"errmsg":"sign not match"}' },
  )
  const { id } = channels.add(hook(url, { language: 'zh-CN' }), now())
  const never = new AbortController().signal
  await courier.test(id, never)
  assert.match(contentOf(received[0]?.body), /^\[Tidemark\] 这是通道“duty”的测试消息/)
  await assert.rejects(courier.test(id, never), { code: 'channel-refused', message: /310000 sign not match/ })
})

test('secrets and addresses are sealed in the database and told to nobody', async (context) => {
  const { open, now, path } = world(context)
  const { channels, close } = open()
  const { id } = channels.add(
    hook('https://robots.example.com/send?access_token=t-o-k-e-n', { secret: 'SEC-s-e-c' }),
    now(),
  )
  const told = JSON.stringify(channels.list())
  assert.doesNotMatch(told, /t-o-k-e-n|SEC-s-e-c/)
  assert.match(told, /"host":"robots.example.com"/)
  assert.equal(channels.demand(id).hasSecret, true)
  const { url: _url, ...kept } = hook('') as { url?: string } & ChannelRequest
  channels.change(id, { ...kept, name: 'another' } as ChannelRequest)
  assert.equal(channels.open(id).settings.secret, 'SEC-s-e-c')
  assert.equal(channels.demand(id).name, 'another')
  channels.change(id, { ...kept, secret: '' } as ChannelRequest)
  assert.equal(channels.demand(id).hasSecret, false)
  await close()
  assert.doesNotMatch(readFileSync(path, 'latin1'), /t-o-k-e-n|SEC-s-e-c/)
})

test('a kept password is not sent to another server than it was given for, nor in the clear', async (context) => {
  const { open, now } = world(context)
  const { channels } = open()
  const mail = {
    kind: 'smtp',
    name: 'mail',
    language: 'en',
    severities: ['critical'],
    enabled: true,
    host: 'mail.example.com',
    port: 587,
    tls: 'starttls',
    user: 'tidemark',
    from: 'a@example.com',
    to: ['b@example.com'],
  } as const satisfies ChannelRequest
  const { to, ...rest } = mail
  const { id } = channels.add({ ...rest, to: [...to], secret: 'right' }, now())
  const change = (other: Partial<ChannelRequest>) => () =>
    channels.change(id, { ...mail, to: [...to], ...other } as ChannelRequest)
  change({ name: 'duty' })()
  assert.throws(change({ host: 'evil.example.com' }), { code: 'bad-request', hint: /again/ })
  assert.throws(change({ tls: 'none' }), { code: 'bad-request' })
  assert.throws(change({ tls: 'none', secret: 'right' }), { code: 'bad-request', message: /in the clear/ })
  assert.throws(change({ secret: '' }), { code: 'bad-request', message: /belong together/ })
  change({ host: 'other.example.com', secret: 'right' })()
  assert.equal(channels.open(id).settings.secret, 'right')
})
