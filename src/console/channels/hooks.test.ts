import assert from 'node:assert/strict'
import { webcrypto } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import { alarmReceiver, type Answering, type Received } from '../../../test/support/alarm-receiver.ts'
import { newAuthority } from '../../../test/support/certificates.ts'
import { JumpingClock } from '../../../test/support/jumping-clock.ts'
import { until } from '../../../test/support/until.ts'
import { alarmAt } from '../../../test/support/vault-seen.ts'
import { systemClock } from '../../base/clock.ts'
import { moment, type Moment } from '../../model/moment.ts'
import { english } from '../language/en.ts'
import { chinese } from '../language/zh-CN.ts'
import { type Delivery, type Hook, judgeAnswer, requestOf, textBytesMax } from './hooks.ts'
import { compose, type Told } from './message.ts'
import { answerBytesMax, post, postMsMax } from './post.ts'

const never = new AbortController().signal
const secret = 'SEC-geheim 密'
const taken = '{"errcode":0,"errmsg":"ok"}'
const takenByFeishu = '{"code":0,"msg":"success","data":{}}'

const told: readonly Told[] = [
  { event: 'raised', alarm: alarmAt(0, { values: { agent: '<at user_id="all">', vault: 'north', sources: 2 } }) },
]
const delivery = (hook: Pick<Hook, 'kind'>, language = chinese): Delivery => ({
  message: compose(told, 0, language, textBytesMax[hook.kind]),
  told,
  language,
  key: 'a key',
})

async function send(hook: Hook, clock = systemClock, now = clock.now() as Moment): Promise<void> {
  const request = requestOf(hook, delivery(hook), now)
  judgeAnswer(hook.kind, request.url.host, await post(request, clock, never))
}

const receiver = async (context: TestContext, answer: Answering | ((received: Received, count: number) => Answering)) =>
  alarmReceiver(context, typeof answer === 'function' ? answer : () => answer)

/** By the other implementation that Node.js has. */
async function hmacBase64(key: string, text: string): Promise<string> {
  const encoded = new TextEncoder()
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const imported = await webcrypto.subtle.importKey('raw', encoded.encode(key), algorithm, false, ['sign'])
  return Buffer.from(await webcrypto.subtle.sign('HMAC', imported, encoded.encode(text))).toString('base64')
}

test('the signatures of DingTalk and Feishu are those that others calculate', () => {
  const at = moment(1_763_884_800_123_456)
  const dingtalk = requestOf(
    { kind: 'dingtalk', url: 'https://example.com/send?access_token=t', secret },
    delivery({ kind: 'dingtalk' }),
    at,
  )
  assert.deepEqual(Object.fromEntries(dingtalk.url.searchParams), {
    access_token: 't',
    timestamp: '1763884800123',
    sign: 'Oc8WUeGEjOyDxqAXW+uDXERFmgAIboN+4hFDouNlV98=',
  })
  const feishu = requestOf(
    { kind: 'feishu', url: 'https://example.com/hook/h', secret },
    delivery({ kind: 'feishu' }),
    at,
  )
  const { timestamp, sign } = JSON.parse(feishu.body) as { timestamp: string; sign: string }
  assert.deepEqual(
    { timestamp, sign },
    { timestamp: '1763884800', sign: 'BITxYU1asnb8r61wLQj0hhx2Lnbfs8R8yeCJshC6TwU=' },
  )
})

test('DingTalk gets a text with the signature in the address', async (context) => {
  const { url, received } = await receiver(context, { text: taken })
  await send({ kind: 'dingtalk', url: `${url}/robot/send?access_token=t`, secret })
  const [{ url: asked, body, headers } = assert.fail()] = received
  const at = asked.searchParams.get('timestamp') ?? ''
  assert.ok(Math.abs(Number(at) - Date.now()) < 60_000, 'milliseconds')
  assert.equal(asked.searchParams.get('sign'), await hmacBase64(secret, `${at}\n${secret}`))
  assert.equal(asked.searchParams.get('access_token'), 't')
  assert.match(headers['content-type'] ?? '', /^application\/json/)
  const { msgtype, text } = body as { msgtype: string; text: { content: string } }
  assert.equal(msgtype, 'text')
  assert.match(text.content, /^\[Tidemark\]\n【严重】主站/)
})

test('Feishu gets a text with the signature in the body, and nobody is called by the name of something', async (context) => {
  const { url, received } = await receiver(context, { text: takenByFeishu })
  await send({ kind: 'feishu', url: `${url}/open-apis/bot/v2/hook/h`, secret })
  const body = received[0]?.body as { timestamp: string; sign: string; msg_type: string; content: { text: string } }
  assert.equal(body.sign, await hmacBase64(`${body.timestamp}\n${secret}`, ''))
  assert.ok(Math.abs(Number(body.timestamp) - Date.now() / 1000) < 60, 'seconds')
  assert.equal(body.msg_type, 'text')
  assert.match(body.content.text, /＜at user_id="all">/)
})

test('WeCom gets a text', async (context) => {
  const { url, received } = await receiver(context, { text: taken })
  await send({ kind: 'wecom', url: `${url}/cgi-bin/webhook/send?key=k` })
  const [{ body } = assert.fail()] = received
  const { msgtype, text } = body as { msgtype: string; text: { content: string } }
  assert.equal(msgtype, 'text')
  assert.match(text.content, /^\[Tidemark\]\n/)
})

test('a webhook gets the alarms as they are, signed with their time', async (context) => {
  const { url, received } = await receiver(context, { text: 'whatever' })
  await send({ kind: 'webhook', url: `${url}/in`, secret })
  const [{ headers, text, body } = assert.fail()] = received
  const signature = Buffer.from(await hmacBase64(secret, `${headers['x-tidemark-timestamp']}.${text}`), 'base64')
  assert.equal(headers['x-tidemark-signature'], `sha256=${signature.toString('hex')}`)
  assert.match(String(headers['x-tidemark-delivery']), /^[0-9a-f]{32}$/)
  const { events } = body as { events: { event: string; alarm: { rule: string; message: string } }[] }
  assert.deepEqual(
    events.map(({ event, alarm }) => [event, alarm.rule]),
    [['raised', 'agent-gone']],
  )
  assert.match(events[0]?.alarm.message ?? '', /失去联系/)
})

test('what robots refuse in a good answer is a failure with their words', async (context) => {
  const answers = {
    wecom: '{"errcode":93000,"errmsg":"invalid webhook url"}',
    dingtalk: '{"errcode":310000,"errmsg":"sign not match"}',
    feishu: '{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}',
  } as const
  for (const kind of ['wecom', 'dingtalk', 'feishu'] as const) {
    const { url } = await receiver(context, { text: answers[kind] })
    const code = /\d+/.exec(answers[kind])?.[0] ?? assert.fail()
    await assert.rejects(send({ kind, url }), { code: 'channel-refused', message: new RegExp(`: ${code} `) })
    const { url: other } = await receiver(context, { text: '<html>a page</html>' })
    await assert.rejects(send({ kind, url: other }), { code: 'channel-refused', message: /does not answer as/ })
  }
})

test('an answer that is no success, too long or points elsewhere is a failure; nothing follows it', async (context) => {
  const { url: failing } = await receiver(context, { status: 500, text: 'out of order' })
  await assert.rejects(send({ kind: 'webhook', url: failing }), {
    code: 'channel-refused',
    message: /500 out of order/,
  })
  const { url: long } = await receiver(context, { text: 'x'.repeat(answerBytesMax + 1) })
  await assert.rejects(send({ kind: 'webhook', url: long }), { code: 'channel-refused', message: /64 KiB/ })
  const { url: elsewhere, received } = await receiver(context, { text: '' })
  const { url: moved } = await receiver(context, { status: 307, headers: { location: `${elsewhere}/` }, text: '' })
  await assert.rejects(send({ kind: 'webhook', url: moved }), { code: 'channel-refused', message: /307/ })
  assert.equal(received.length, 0)
})

test('a receiver that says nothing is given up', async (context) => {
  const { url, received } = await receiver(context, { text: '', isSilent: true })
  const clock = new JumpingClock()
  const sending = send({ kind: 'webhook', url }, clock)
  sending.catch(() => undefined)
  await until('it is asked', () => received.length === 1)
  clock.jump(postMsMax)
  await assert.rejects(sending, { code: 'unreachable', message: /no whole answer within 15 s/ })
})

test('no failure tells the address, which is a secret', async () => {
  await assert.rejects(
    send({ kind: 'wecom', url: 'http://127.0.0.1:9/cgi-bin/webhook/send?key=k-e-y' }),
    (error: Error) => {
      assert.match(error.message, /127\.0\.0\.1:9 cannot be reached/)
      assert.doesNotMatch(JSON.stringify({ ...error, message: error.message }), /k-e-y/)
      return true
    },
  )
})

test('a certificate is checked, against an authority of the own where one is given', async (context) => {
  const authority = await newAuthority()
  const good = await authority.sign('receiver', [{ type: 'dns', value: 'localhost' }])
  const { url } = await alarmReceiver(context, () => ({ text: '' }), good)
  await assert.rejects(send({ kind: 'webhook', url }), { code: 'tls-refused' })
  await send({ kind: 'webhook', url, authority: authority.certificate })
  const other = await authority.sign('receiver', [{ type: 'dns', value: 'elsewhere.example' }])
  const { url: foreign } = await alarmReceiver(context, () => ({ text: '' }), other)
  await assert.rejects(send({ kind: 'webhook', url: foreign, authority: authority.certificate }), {
    code: 'tls-refused',
  })
})

test('a message of a burst names the first and counts the rest, and fits what its receiver takes', () => {
  const many = Array.from({ length: 150 }, (_, at): Told => ({
    event: at % 3 === 0 ? 'resolved' : 'raised',
    alarm: alarmAt(at, { values: { agent: `db-${at}\n${'长'.repeat(at * 10)}`, vault: 'north', sources: at } }),
  }))
  const { title, text } = compose(many, 7, english, 64 * 1024)
  assert.match(title, /^\[Tidemark\] Over after .*agent "db-0" is gone .* \(and 149 more\)$/)
  assert.match(text, /140 more: see the page Alarms/)
  assert.match(text, /7 messages could not be sent/)
  for (const bytes of [200, 2000, 16_000]) {
    const cut = compose(many, 7, chinese, bytes)
    assert.ok(Buffer.byteLength(cut.text) <= bytes, `${Buffer.byteLength(cut.text)} of ${bytes} bytes`)
    const shown = cut.text.match(/【/g)?.length ?? 0
    assert.ok(cut.text.includes(`另有 ${150 - shown} 条`))
  }
})
