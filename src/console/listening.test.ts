import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import tls from 'node:tls'
import { isCode } from '../base/errors.ts'
import { nameOf, testConsole } from '../../test/support/console-world.ts'
import { databasePath, httpsFolder } from './place.ts'

const selfMade = { isSelfMade: true, names: ['127.0.0.1', 'localhost', 'console.example'] } as const

test('over HTTPS the cookie is bound to this host, and a page that came without HTTPS is another', async (context) => {
  const console = await testConsole(context, { listen: { host: '127.0.0.1', port: 0, https: selfMade } })
  const browser = console.browser()
  const body = { user: nameOf('viewer'), password: console.passwords.get('viewer') }
  const answer = await browser.ask('POST', '/api/sign-in', { body })
  assert.equal(answer.status, 200)
  assert.match(
    String(answer.headers['set-cookie']),
    /^__Host-tidemark=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
  )
  const plain = { origin: console.origin.replace('https', 'http') }
  assert.equal((await browser.ask('POST', '/api/sign-in', { body, headers: plain })).status, 403)
})

test('a name of the certificate is the console’s own, another is not', async (context) => {
  const console = await testConsole(context, { listen: { host: '127.0.0.1', port: 0, https: selfMade } })
  const named = (host: string) => console.browser().ask('GET', '/api/health', { headers: { host } })
  assert.equal((await named('console.example')).status, 200)
  assert.equal((await named('other.example')).status, 403)
})

test('a certificate that is renewed is shown to whoever connects from then on', async (context) => {
  const console = await testConsole(context, { listen: { host: '127.0.0.1', port: 0, https: selfMade } })
  const shown = async (): Promise<string> => {
    const socket = tls.connect({ host: '127.0.0.1', port: console.port, rejectUnauthorized: false })
    await new Promise((resolve) => socket.once('secureConnect', resolve))
    const serial = (socket.getPeerX509Certificate() as X509Certificate).serialNumber
    socket.destroy()
    return serial
  }
  const before = await shown()
  await console.started.renewCertificate()
  assert.equal(await shown(), before)
  rmSync(join(httpsFolder(console.directory), 'server.pem'))
  await console.started.renewCertificate()
  assert.notEqual(await shown(), before)
})

test('beyond loopback nothing is served in the clear unless that is said expressly', async (context) => {
  const listen = { host: '0.0.0.0', port: 0 }
  await assert.rejects(testConsole(context, { listen }), (error) => isCode(error, 'not-allowed'))
  await testConsole(context, { listen: { ...listen, isPlainAllowed: true } })
  await testConsole(context, { listen: { ...listen, https: selfMade } })
})

test('what the console keeps can be read by its owner alone, and one process works on it', async (context) => {
  const console = await testConsole(context)
  for (const file of [databasePath(console.directory), join(console.directory, 'secret.key')]) {
    assert.equal(statSync(file).mode & 0o777, 0o600, file)
  }
  const again = testConsole(context, { directory: console.directory, passwords: new Map(console.passwords) })
  await assert.rejects(again, (error) => isCode(error, 'already-running'))
})
