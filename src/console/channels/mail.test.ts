import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { newAuthority } from '../../../test/support/certificates.ts'
import { JumpingClock } from '../../../test/support/jumping-clock.ts'
import { until } from '../../../test/support/until.ts'
import { systemClock } from '../../base/clock.ts'
import { testMessage } from './message.ts'
import { chinese } from '../language/zh-CN.ts'
import { type Mailbox, mailMsMax, sendMail } from './mail.ts'

const never = new AbortController().signal
const message = testMessage('值班', chinese)

interface Mail {
  readonly from: string
  readonly to: string[]
  readonly text: string
  readonly isSecure: boolean
  readonly user: string | undefined
}

/** A mail server that lets `tidemark` in with `right`, and does not know the receiver `nobody@`. */
async function mailServer(context: TestContext, options: SMTPServerOptions): Promise<{ port: number; mails: Mail[] }> {
  const mails: Mail[] = []
  const server = new SMTPServer({
    authMethods: ['PLAIN', 'LOGIN'],
    onAuth: ({ username, password }, _session, done) =>
      username === 'tidemark' && password === 'right' ? done(null, { user: username }) : done(new Error('who are you')),
    onRcptTo: ({ address }, _session, done) =>
      address.startsWith('nobody@') ? done(new Error('no such box')) : done(),
    onData: (stream, session, done) => {
      const pieces: Buffer[] = []
      stream.on('data', (piece: Buffer) => pieces.push(piece))
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope
        mails.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          text: Buffer.concat(pieces).toString('utf8'),
          isSecure: session.secure,
          user: session.user,
        })
        done()
      })
    },
    ...options,
  })
  // What a client does to a connection is its own affair.
  server.on('error', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  context.after(() => new Promise<void>((resolve) => server.close(() => resolve())))
  return { port: (server.server.address() as AddressInfo).port, mails }
}

const mailbox = (port: number, other: Partial<Mailbox> = {}): Mailbox => ({
  host: 'localhost',
  port,
  tls: 'none',
  from: 'Tidemark <tidemark@example.com>',
  to: ['duty@example.com', 'office@example.com'],
  ...other,
})

async function tlsServer(context: TestContext, options: SMTPServerOptions = {}) {
  const authority = await newAuthority()
  const { certificate, key } = await authority.sign('mail', [{ type: 'dns', value: 'localhost' }])
  return { ...(await mailServer(context, { key, cert: certificate, ...options })), authority: authority.certificate }
}

test('a mail goes by STARTTLS to who signs in, to all receivers, in Chinese', async (context) => {
  const { port, mails, authority } = await tlsServer(context)
  const signedIn = { tls: 'starttls', user: 'tidemark', password: 'right', authority } as const
  await sendMail(mailbox(port, signedIn), message, systemClock, never)
  const [mail = assert.fail()] = mails
  assert.equal(mail.isSecure, true)
  assert.equal(mail.user, 'tidemark')
  assert.deepEqual([mail.from, mail.to], ['tidemark@example.com', ['duty@example.com', 'office@example.com']])
  const [head = '', body = ''] = mail.text.split('\r\n\r\n')
  assert.match(head, /^Auto-Submitted: auto-generated$/m)
  const words = [...head.matchAll(/=\?UTF-8\?B\?([^?]+)\?=/gi)].map(([, encoded = '']) =>
    Buffer.from(encoded, 'base64'),
  )
  assert.equal(Buffer.concat(words).toString('utf8'), message.title)
  assert.equal(Buffer.from(body, 'base64').toString('utf8').trim(), message.text)
})

test('a mail goes by TLS from the first byte', async (context) => {
  const { port, mails, authority } = await tlsServer(context, { secure: true })
  await sendMail(
    mailbox(port, { tls: 'implicit', user: 'tidemark', password: 'right', authority }),
    message,
    systemClock,
    never,
  )
  assert.equal(mails[0]?.isSecure, true)
})

test('a wrong password is told as such', async (context) => {
  const { port, authority } = await tlsServer(context)
  const wrong = mailbox(port, { tls: 'starttls', user: 'tidemark', password: 'wrong', authority })
  await assert.rejects(sendMail(wrong, message, systemClock, never), { code: 'channel-refused', message: /sign in/ })
})

test('no password goes to a server that does not prove who it is, or does not encrypt', async (context) => {
  const asked: string[] = []
  const onAuth: SMTPServerOptions['onAuth'] = ({ username = '' }, _session, done) => {
    asked.push(username)
    done(null, { user: username })
  }
  const { port } = await tlsServer(context, { onAuth })
  const signedIn = { tls: 'starttls', user: 'tidemark', password: 'right' } as const
  await assert.rejects(sendMail(mailbox(port, signedIn), message, systemClock, never), { code: 'tls-refused' })
  const plain = await mailServer(context, { onAuth, disabledCommands: ['STARTTLS'], allowInsecureAuth: true })
  await assert.rejects(sendMail(mailbox(plain.port, signedIn), message, systemClock, never))
  assert.deepEqual([asked, plain.mails], [[], []])
})

test('a receiver that the server does not take is told, and a server that is not there', async (context) => {
  const { port } = await mailServer(context, { authOptional: true, disabledCommands: ['AUTH', 'STARTTLS'] })
  const nobody = mailbox(port, { to: ['nobody@example.com'] })
  await assert.rejects(sendMail(nobody, message, systemClock, never), {
    code: 'channel-refused',
    message: /no such box/,
  })
  const some = mailbox(port, { to: ['duty@example.com', 'nobody@example.com'] })
  await assert.rejects(sendMail(some, message, systemClock, never), { code: 'channel-refused', message: /nobody@/ })
  await assert.rejects(sendMail(mailbox(9), message, systemClock, never), { code: 'unreachable' })
})

test('a mail server that says nothing is given up', async (context) => {
  const sockets: net.Socket[] = []
  const server = net.createServer((socket) => sockets.push(socket.on('error', () => undefined)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const clock = new JumpingClock()
  const sending = sendMail(mailbox((server.address() as AddressInfo).port), message, clock, never)
  sending.catch(() => undefined)
  await until('it is asked', () => sockets.length > 0)
  clock.jump(mailMsMax)
  await assert.rejects(sending, { code: 'unreachable', message: /within 30 s/ })
})
