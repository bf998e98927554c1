import assert from 'node:assert/strict'
import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../base/clock.ts'
import { type ErrorCode, isCode } from '../../../base/errors.ts'
import { systemRandom } from '../../../base/random.ts'
import { Cluster } from '../../../../test/support/postgres.ts'
import { useTls } from '../../../../test/support/postgres-certificates.ts'
import { availableMajors, lackingPostgres } from '../../../../test/support/postgres-program.ts'
import { Authentication } from './authentication.ts'
import { connect, type Connection } from './connection.ts'
import { findPassword } from './password.ts'
import { parsePostgresUrl } from './url.ts'

const newest = 18
const onNewest = { skip: lackingPostgres(newest) }

/** Over TCP, as a user with a password in the URL. */
async function enter(url: string, purpose: 'replication' | 'database' = 'database'): Promise<Connection> {
  const target = parsePostgresUrl(url, 'nobody')
  const password = await findPassword(target, { environment: {}, homeFolder: '/nonexistent', purpose })
  return await connect({ target, password, purpose, clock: systemClock, random: systemRandom })
}

async function enters(url: string, over: Connection['over'] = 'tcp', purpose?: 'replication'): Promise<string> {
  await using connection = await enter(url, purpose)
  assert.equal(connection.over, over)
  if (purpose === 'replication') return String((await connection.query('IDENTIFY_SYSTEM'))[0]?.rows[0]?.[0])
  return String((await connection.query('SELECT current_user'))[0]?.rows[0]?.[0])
}

const isRefused = (url: string, code: ErrorCode, words: RegExp): Promise<void> =>
  assert.rejects(enter(url), (error) => {
    assert.ok(isCode(error, code), String(error))
    assert.match(`${error.message} ${error.hint}`, words)
    assert.doesNotMatch(`${error.message} ${error.hint}`, /wrong-password|right-password/)
    return true
  })

const passwords = [
  ['alice', 'right-password'],
  // What SASLprep changes: a ligature, a space that is none, something invisible.
  ['bob', 'pä\u00A0ß \uFB01x\u00AD€'],
  // What SASLprep prohibits stays as it is.
  ['carol', 'a\u0007b'],
] as const

for (const major of availableMajors()) {
  test(`version ${major} lets in who knows the password, and nobody else: SCRAM and MD5`, async (t) => {
    const cluster = await Cluster.create(t, {
      major,
      hba: [
        'host all md5user 127.0.0.1/32 md5',
        'host all plain 127.0.0.1/32 password',
        'host all stranger 127.0.0.1/32 reject',
        'host all all 127.0.0.1/32 scram-sha-256',
        'host replication all 127.0.0.1/32 scram-sha-256',
      ],
      settings: { password_encryption: 'scram-sha-256' },
    })
    for (const [user, password] of passwords) {
      const literal = `E'${password.replaceAll('\u0007', '\\x07')}'`
      await cluster.sql(`CREATE ROLE ${user} LOGIN ${user === 'alice' ? 'REPLICATION' : ''} PASSWORD ${literal}`)
    }
    await cluster.sql(
      "CREATE ROLE plain LOGIN PASSWORD 'right-password'; CREATE ROLE stranger LOGIN; " +
        "SET password_encryption = 'md5'; CREATE ROLE md5user LOGIN PASSWORD 'right-password'",
    )
    const url = (user: string, password: string): string =>
      `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${cluster.port}/postgres`
    for (const [user, password] of passwords) assert.equal(await enters(url(user, password)), user)
    assert.match(await enters(url('alice', 'right-password'), 'tcp', 'replication'), /^\d+$/)
    assert.equal(await enters(url('md5user', 'right-password')), 'md5user')
    await isRefused(url('alice', 'wrong-password'), 'database-refused', /28P01.*password/)
    await isRefused(url('md5user', 'wrong-password'), 'database-refused', /28P01/)
    await isRefused(url('plain', 'right-password'), 'database-refused', /clear text/)
    await isRefused(url('stranger', ''), 'database-refused', /28000.*pg_hba.conf/)
    await isRefused(url('alice', ''), 'database-refused', /there is none/)
    await isRefused(`${url('alice', 'right-password')}?sslmode=require`, 'tls-refused', /does not speak TLS/)
    await isRefused(`${url('alice', 'right-password')}?channel_binding=require`, 'database-refused', /channel_binding/)
    await assert.rejects(enter(url('bob', passwords[1][1]), 'replication'), (error) => {
      return isCode(error, 'database-precondition') && /ALTER ROLE/.test(error.hint ?? '')
    })
  })

  test(`version ${major} over TLS: each mode asks what it says, and SCRAM is bound to the certificate`, async (t) => {
    const cluster = await Cluster.create(t, {
      major,
      hba: [
        'hostssl all plain 127.0.0.1/32 password',
        'hostssl all certified 127.0.0.1/32 cert',
        'hostssl all all 127.0.0.1/32 scram-sha-256',
        'hostssl replication all 127.0.0.1/32 scram-sha-256',
      ],
      settings: { password_encryption: 'scram-sha-256' },
    })
    await cluster.sql(
      "CREATE ROLE alice LOGIN REPLICATION PASSWORD 'right-password'; CREATE ROLE plain LOGIN PASSWORD 'right-password'; " +
        'CREATE ROLE certified LOGIN',
    )
    const hash = ({ 12: 'SHA-384', 13: 'SHA-512' } as const)[String(major)] ?? 'SHA-256'
    const { root, otherRoot, client } = await useTls(cluster, {
      names: [{ type: 'dns', value: 'localhost' }],
      user: 'certified',
      hash,
    })
    await cluster.restart()
    const url = (user: string, options: string, host = '127.0.0.1'): string =>
      `postgres://${user}:right-password@${host}:${cluster.port}/postgres?${options}`

    assert.equal(await enters(url('alice', ''), 'tls'), 'alice')
    assert.equal(await enters(url('plain', 'sslmode=require'), 'tls'), 'plain')
    assert.equal(await enters(url('alice', `sslmode=require&channel_binding=require`), 'tls'), 'alice')
    assert.equal(await enters(url('alice', `sslmode=require&channel_binding=disable`), 'tls'), 'alice')
    assert.equal(await enters(url('alice', `sslmode=verify-ca&sslrootcert=${root}`), 'tls'), 'alice')
    assert.match(
      await enters(
        url('alice', `sslmode=verify-full&sslrootcert=${root}&channel_binding=require`, 'localhost'),
        'tls',
        'replication',
      ),
      /^\d+$/,
    )
    const byCertificate = `sslmode=verify-ca&sslrootcert=${root}&sslcert=${client.certificate}&sslkey=${client.key}`
    assert.equal(await enters(url('certified', byCertificate), 'tls'), 'certified')

    await isRefused(url('alice', `sslmode=verify-full&sslrootcert=${root}`), 'tls-refused', /127\.0\.0\.1/)
    await isRefused(url('alice', `sslmode=verify-ca&sslrootcert=${otherRoot}`), 'tls-refused', /sslrootcert/)
    await isRefused(url('alice', `sslmode=require&sslrootcert=${otherRoot}`), 'tls-refused', /sslrootcert/)
    await isRefused(url('alice', 'sslmode=verify-full&sslrootcert=system', 'localhost'), 'tls-refused', /certificate/)
    await isRefused(url('alice', 'sslmode=verify-ca&sslrootcert=/nonexistent'), 'unreadable', /nonexistent/)
    await isRefused(url('alice', 'sslmode=disable'), 'database-refused', /28000/)
    await isRefused(url('plain', 'sslmode=require&channel_binding=require'), 'database-refused', /channel_binding/)
  })
}

test('large results and cancelling go through TLS like without', onNewest, async (t) => {
  const cluster = await Cluster.create(t, { major: newest })
  await useTls(cluster, { names: [{ type: 'dns', value: 'localhost' }] })
  await cluster.restart()
  await using connection = await enter(`postgres://postgres@127.0.0.1:${cluster.port}/postgres?sslmode=require`)
  const [set] = await connection.query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
  assert.equal(set?.rows.length, 20_000)
  const stop = new AbortController()
  const sleeping = connection.query('SELECT pg_sleep(600)', stop.signal)
  setTimeout(() => stop.abort(), 50)
  await assert.rejects(sleeping, { name: 'AbortError' })
})

test('on the socket the system’s user is enough, where peer authentication says so', onNewest, async (t) => {
  const { username } = userInfo()
  const cluster = await Cluster.create(t, { major: newest, hba: ['local all all peer'] })
  await cluster.sql(`CREATE ROLE "${username}" LOGIN; CREATE ROLE somebody LOGIN`)
  const folder = encodeURIComponent(cluster.socketFolder)
  assert.equal(
    await enters(`postgres:///postgres?host=${folder}&port=${cluster.port}&user=${username}`, 'socket'),
    username,
  )
  await isRefused(`postgres://somebody@/postgres?host=${folder}&port=${cluster.port}`, 'database-refused', /28000/)
})

test('a server that skips its own proof is not believed', async () => {
  const kind = (number: number, text = ''): Buffer => {
    const body = Buffer.alloc(4)
    body.writeUInt32BE(number)
    return Buffer.concat([body, Buffer.from(text)])
  }
  const begin = (): Authentication =>
    new Authentication({
      user: 'u',
      password: { reveal: () => 'p' } as never,
      over: 'tcp',
      channelBinding: 'prefer',
      certificateHash: undefined,
      random: systemRandom,
      target: 'u@h:1',
    })
  const skips = begin()
  skips.answer(kind(10, 'SCRAM-SHA-256\0\0'))
  assert.throws(
    () => skips.answer(kind(0)),
    (error: unknown) => isCode(error, 'protocol-violation'),
  )
  for (const challenge of ['', 'r=x,s=AA==,i=4096', 'r=,s=,i=0', 'e=other-error']) {
    const impostor = begin()
    impostor.answer(kind(10, 'SCRAM-SHA-256\0\0'))
    await assert.rejects(
      async () => impostor.answer(kind(11, challenge)),
      (error) => isCode(error, 'tls-refused'),
      challenge,
    )
  }
  const impostor = begin()
  const first = String(impostor.answer(kind(10, 'SCRAM-SHA-256\0\0')))
  const nonce = /r=(.*)$/.exec(first)?.[1] as string
  for (const count of [10_000_001, 999_999_999]) {
    const busy = begin()
    const its = /r=(.*)$/.exec(String(busy.answer(kind(10, 'SCRAM-SHA-256\0\0'))))?.[1] as string
    await assert.rejects(async () => busy.answer(kind(11, `r=${its}x,s=AA==,i=${count}`)), /iterations/)
  }
  await impostor.answer(kind(11, `r=${nonce}x,s=AA==,i=4096`))
  assert.throws(
    () => impostor.answer(kind(12, 'v=AAAA')),
    (error: unknown) => isCode(error, 'tls-refused'),
  )
  for (const method of [2, 6, 7, 9, 99]) {
    assert.throws(
      () => begin().answer(kind(method)),
      (error: unknown) => isCode(error, 'database-refused'),
    )
  }
})

test('what comes along with the agreement to TLS is not taken for what is said under it', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () =>
      socket.write(Buffer.concat([Buffer.from('S'), Buffer.from('R\0\0\0\x08\0\0\0\0', 'latin1')])),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await assert.rejects(enter(`postgres://u@127.0.0.1:${port}/d`), (error) => isCode(error, 'protocol-violation'))
  server.close()
})

test('the password file of libpq is read as libpq reads it', async (t) => {
  const file = join(tmpdir(), `tidemark-pgpass-${process.pid}`)
  t.after(() => rmSync(file, { force: true }))
  writeFileSync(
    file,
    [
      '# *:*:*:*:no',
      'db:5432:replication:u:for-wal',
      'db:*:a\\:b:u:with\\:colon\\\\',
      'localhost:*:*:s:at-socket',
      '*:*:*:u:any',
    ].join('\n'),
    { mode: 0o600 },
  )
  const find = async (
    url: string,
    purpose: 'replication' | 'database',
    environment = {},
  ): Promise<string | undefined> =>
    (
      await findPassword(parsePostgresUrl(url, 'x'), {
        environment: { PGPASSFILE: file, ...environment },
        homeFolder: '/',
        purpose,
      })
    )?.reveal()
  assert.equal(await find('postgres://u@db/d', 'replication'), 'for-wal')
  assert.equal(await find('postgres://u@db/a%3Ab', 'database'), 'with:colon\\')
  assert.equal(await find('postgres://s@/d', 'database'), 'at-socket')
  assert.equal(await find('postgres://u@db/d', 'database'), 'any')
  assert.equal(await find('postgres://v@db/d', 'database'), undefined)
  assert.equal(await find('postgres://u:own@db/d', 'database', { PGPASSWORD: 'env' }), 'own')
  assert.equal(await find('postgres://u@db/d', 'database', { PGPASSWORD: 'env' }), 'env')
  assert.equal(await find('postgres://u@db/d', 'database', { PGPASSFILE: '/nonexistent' }), undefined)
  await assert.rejects(find('postgres://u@db/d?passfile=/nonexistent', 'database'), (error) =>
    isCode(error, 'unreadable'),
  )
  chmodSync(file, 0o640)
  await assert.rejects(find('postgres://u@db/d', 'database'), (error) => isCode(error, 'not-allowed'))
})
