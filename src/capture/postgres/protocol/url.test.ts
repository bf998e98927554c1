import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { isCode, TidemarkError } from '../../../base/errors.ts'
import { describeTarget } from './target.ts'
import { parsePostgresUrl, parsePostgresUrls } from './url.ts'

const parse = (text: string) => parsePostgresUrl(text, 'me')

test('what a URL leaves out is as libpq has it', () => {
  assert.deepEqual(parse('postgres://'), {
    address: { kind: 'socket', folder: '/var/run/postgresql', port: 5432 },
    user: 'me',
    database: 'me',
    tls: { mode: 'prefer' },
    channelBinding: 'prefer',
  })
  assert.deepEqual(parse('postgresql://db.example').address, { kind: 'tcp', host: 'db.example', port: 5432 })
})

test('every part can be said, in its place or as a parameter, with codes for what has a meaning', () => {
  const target = parse(
    'postgres://a%40b:s%3A%2Fcret@[::1]:6432/my%20db?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/c.key' +
      '&channel_binding=require&application_name=vault&passfile=/p',
  )
  assert.equal(target.password?.reveal(), 's:/cret')
  assert.deepEqual(
    { ...target, password: undefined },
    {
      address: { kind: 'tcp', host: '::1', port: 6432 },
      user: 'a@b',
      database: 'my db',
      password: undefined,
      passwordFile: '/p',
      applicationName: 'vault',
      tls: { mode: 'verify-full', rootCertificates: '/ca.pem', certificate: '/c.pem', key: '/c.key' },
      channelBinding: 'require',
    },
  )
  assert.equal(describeTarget(target), 'a@b@[::1]:6432')
  const socket = parse('postgres:///db?host=/run/pg&port=5433&user=u')
  assert.deepEqual(socket.address, { kind: 'socket', folder: '/run/pg', port: 5433 })
  assert.equal(describeTarget(socket), 'u@/run/pg/.s.PGSQL.5433')
  assert.deepEqual(parse('postgres://%2Frun%2Fpg/db').address, { kind: 'socket', folder: '/run/pg', port: 5432 })
})

test('several hosts are the members of one cluster, in the URL or as parameters', () => {
  const addresses = (text: string) => parsePostgresUrls(text, 'me').map(({ address }) => address)
  const pair = [
    { kind: 'tcp', host: 'a', port: 5433 },
    { kind: 'tcp', host: '::1', port: 5432 },
  ]
  assert.deepEqual(addresses('postgres://u@a:5433,[::1]/d'), pair)
  assert.deepEqual(addresses('postgres:///d?host=a,::1&port=5433,'), pair)
  assert.deepEqual(
    addresses('postgres://a,b:/d?port=6000').map(({ port }) => port),
    [6000, 6000],
  )
  for (const wrong of ['postgres://a,b,c/d?port=1,2', `postgres://${'h,'.repeat(17)}h/d`]) {
    assert.throws(
      () => addresses(wrong),
      (error) => isCode(error, 'bad-request'),
    )
  }
})

test('a password is never shown', () => {
  const target = parse('postgres://u:topsecret@h/d')
  for (const shown of [inspect(target, { depth: 9, showHidden: true }), JSON.stringify(target), `${target.password}`]) {
    assert.doesNotMatch(shown, /topsecret/)
  }
})

test('what is wrong with a URL is told without the URL', () => {
  const wrong: Record<string, RegExp> = {
    'mysql://u:topsecret@h/d': /postgres:\/\//,
    'postgres://u:topsecret@a,b/d': /several hosts/,
    'postgres://u:topsecret%zz@h/d': /password with a %/,
    'postgres://u:topsecret@h:0/d': /port/,
    'postgres://u:topsecret@h:70000/d': /port/,
    'postgres://u:topsecret@::1/d': /\[ \]/,
    'postgres://u:topsecret@h/d?sslmode=maybe': /verify-full/,
    'postgres://u:topsecret@h/d?sslmode=verify-ca': /sslrootcert/,
    'postgres://u:topsecret@h/d?sslrootcert=system&sslmode=require': /verify-full/,
    'postgres://u:topsecret@h/d?sslcert=/c': /together/,
    'postgres://u:topsecret@h/d?sslmod=require': /sslmod/,
    'postgres://u:topsecret@h/d%00': /dbname/,
  }
  for (const [url, words] of Object.entries(wrong)) {
    assert.throws(
      () => parse(url),
      (error) => isCode(error, 'bad-request') && words.test(error.message) && !error.message.includes('topsecret'),
      url,
    )
  }
})

test('any text is a target or a bad request', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^postgres:\/\/[a-z:@%/?&=,\d[\]]{0,40}$/)), (text) => {
      try {
        parse(text)
      } catch (error) {
        assert.ok(error instanceof TidemarkError && error.code === 'bad-request')
      }
    }),
  )
})
