import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { auditRecord, auditVerification } from '../api/console.ts'
import { systemRandom } from '../base/random.ts'
import { ForwardClock, nameOf, testConsole } from '../../test/support/console-world.ts'
import { Audit, auditHash, auditKeptMs } from './audit.ts'
import { Database } from './database.ts'

const happened = (subject: string) =>
  ({ user: 'li', address: '10.0.0.7', action: 'restore', subject, outcome: 'done', detail: 'd' }) as const

function filled(count: number, clock = new ForwardClock()): { database: Database; audit: Audit; clock: ForwardClock } {
  const database = new Database(':memory:')
  const audit = new Audit(database, clock, systemRandom)
  for (let at = 1; at <= count; at++) audit.record(happened(`record ${at}`))
  return { database, audit, clock }
}

test('a chain that nobody touched is intact, and its last hash is what anybody computes from the records', async () => {
  const { database, audit } = filled(2_500)
  using _closed = database
  const told = await audit.verify()
  assert.deepEqual([told.intact, told.records, told.firstBroken], [true, 2_500, null])
  const [, ...rest] = await Array.fromAsync(audit.all({}))
  let hash = (await Array.fromAsync(audit.all({})))[0]!.hash
  for (const record of rest) hash = auditHash(hash, record)
  assert.equal(hash, told.lastHash)
})

test('a chain that was changed at any place is found broken there', async () => {
  const count = 7
  const faults: [string, (at: number) => string, (at: number) => number][] = [
    ['a field changed', (at) => `UPDATE audit SET subject = 'x' WHERE number = ${at}`, (at) => at],
    ['a user removed', (at) => `UPDATE audit SET user = NULL WHERE number = ${at}`, (at) => at],
    ['the moment moved', (at) => `UPDATE audit SET at = at + 1 WHERE number = ${at}`, (at) => at],
    ['the hash changed', (at) => `UPDATE audit SET hash = lower(hex(randomblob(32))) WHERE number = ${at}`, (at) => at],
    ['a record removed', (at) => `DELETE FROM audit WHERE number = ${at}`, (at) => at],
    ['a record moved', (at) => `UPDATE audit SET number = 100 WHERE number = ${at}`, (at) => at],
    ['the end forgotten', (at) => `DELETE FROM audit WHERE number >= ${at}`, (at) => at],
    ['the beginning forgotten', (at) => `DELETE FROM audit WHERE number <= ${at}`, () => 1],
    [
      'the beginning forgotten and hidden',
      (at) =>
        `UPDATE audit_ends SET before = ${at}, before_hash = (SELECT hash FROM audit WHERE number = ${at});
         DELETE FROM audit WHERE number <= ${at}`,
      (at) => at + 1,
    ],
  ]
  for (const [what, sql, firstBroken] of faults) {
    for (let at = 1; at <= count; at++) {
      const { database, audit } = filled(count)
      using _closed = database
      database.sqlite.exec(sql(at))
      const told = await audit.verify()
      assert.deepEqual([told.intact, told.firstBroken], [false, firstBroken(at)], `${what} at ${at}`)
    }
  }
})

test('a record of another console’s chain does not fit', async () => {
  const { database, audit } = filled(1)
  using _closed = database
  database.sqlite.exec("UPDATE console SET id = '00000000000000000000000000000000'")
  assert.deepEqual((await audit.verify()).firstBroken, 1)
})

test('what is older than its time goes, and the chain still proves the rest', async () => {
  const { database, audit, clock } = filled(5)
  using _closed = database
  clock.forward(auditKeptMs / 2)
  for (let at = 6; at <= 9; at++) audit.record(happened(`record ${at}`))
  audit.trim()
  assert.equal((await audit.verify()).records, 9, 'nothing is old enough')
  clock.forward(auditKeptMs / 2 + 1_000)
  audit.trim()
  const told = await audit.verify()
  assert.ok(told.intact)
  assert.equal(told.records, 5, 'four, and the one that tells what went')
  assert.match(JSON.stringify(audit.search({ limit: 1 })), /records up to 5/)
  audit.trim()
  assert.equal((await audit.verify()).records, 5)
  clock.forward(auditKeptMs)
  audit.record(happened('much later'))
  audit.trim()
  assert.ok((await audit.verify()).intact)
})

test('what nobody can write well does not break the chain', async () => {
  const { database, audit } = filled(0)
  using _closed = database
  const half = '\u{1f600}'.charAt(0)
  const fields = ['user', 'address', 'action', 'subject', 'detail'] as const
  for (const field of fields) audit.record({ ...happened('half a letter'), [field]: `x${half}y` })
  // Cut in the middle of a letter that takes two places.
  for (const before of [1_998, 1_999]) audit.record(happened('a'.repeat(before) + '\u{1f600}'.repeat(9)))
  audit.record(happened('made by \u202etxt.exe\u2069\u2028next\0'))
  assert.match(JSON.stringify(audit.search({ limit: 1 })), /"made by  txt.exe next "/)
  assert.deepEqual(await audit.verify().then(({ intact, records }) => ({ intact, records })), {
    intact: true,
    records: fields.length + 3,
  })
})

test('a clock that was wrong for a while takes no record along that is younger than its time', async () => {
  const { database, audit, clock } = filled(4)
  using _closed = database
  clock.forward(-3 * auditKeptMs)
  audit.record(happened('in a year long ago'))
  clock.forward(3 * auditKeptMs)
  audit.record(happened('now again'))
  audit.trim()
  assert.equal((await audit.verify()).records, 6)
  clock.forward(auditKeptMs + 1_000)
  audit.trim()
  assert.match(JSON.stringify(audit.search({ limit: 10 })), /^\[[^}]*records up to 6[^}]*\}\]$/)
})

test('records are found by user, text and span', () => {
  const { database, audit, clock } = filled(3)
  using _closed = database
  clock.forward(60_000)
  audit.record({ ...happened('100%_done'), user: 'Wang' })
  const find = (wanted: object): string[] => audit.search({ limit: 10, ...wanted }).map(({ subject }) => subject)
  assert.deepEqual(find({ user: 'wang' }), ['100%_done'])
  assert.deepEqual(find({ text: '0%_d' }), ['100%_done'])
  assert.deepEqual(find({ text: '%' }), ['100%_done'])
  assert.deepEqual(find({ text: 'RECORD 2' }), ['record 2'])
  assert.deepEqual(find({ before: 3 }), ['record 2', 'record 1'])
  const [newest] = audit.search({ limit: 1 })
  assert.deepEqual(find({ from: newest!.at }), ['100%_done'])
  assert.deepEqual(find({ to: newest!.at, limit: 2 }), ['100%_done', 'record 3'])
})

test('who audits sees what was done and refused, takes it away as a file, and proves it', async (context) => {
  const console = await testConsole(context)
  const operator = await console.signedIn('operator')
  await operator.refused('POST', '/api/users', { body: { name: 'mallory', role: 'operator' } })
  await operator.refused('POST', '/api/vaults/none/v1/tokens', { body: {} })
  const auditor = await console.signedIn('audit-administrator')
  const records = await auditor.read('/api/audit', z.array(auditRecord))
  const refused = records.filter(({ outcome, user }) => outcome === 'refused' && user === nameOf('operator'))
  assert.deepEqual(
    refused.map(({ action, subject }) => [action, subject]),
    [
      ['servers', 'POST /api/vaults/none/v1/tokens'],
      ['users', 'POST /api/users'],
    ],
  )
  const { text, headers } = await auditor.ask('GET', '/api/audit/export?format=csv')
  assert.match(String(headers['content-disposition']), /attachment; filename="tidemark-audit.csv"/)
  assert.equal(text.trim().split('\r\n').length, records.length + 2, 'with a head, and the record of itself')
  const lines = (await auditor.ask('GET', '/api/audit/export?format=jsonl&user=the-operator')).text.trim().split('\n')
  assert.ok(lines.every((line) => auditRecord.parse(JSON.parse(line)).user === nameOf('operator')))
  const told = auditVerification.parse(await auditor.done('POST', '/api/audit/verification'))
  assert.ok(told.intact && told.firstBroken === null)
})

test('a cell that a spreadsheet would take for a formula is told as text', async (context) => {
  const console = await testConsole(context)
  const security = await console.signedIn('security-administrator')
  await security.refused('PATCH', '/api/users/=1+1', { body: {} })
  console.started.context.audit.record({ ...happened('=HYPERLINK("http://evil.example","x")') })
  const auditor = await console.signedIn('audit-administrator')
  const { text } = await auditor.ask('GET', '/api/audit/export?format=csv')
  assert.match(text, /,"'=HYPERLINK\(""http:\/\/evil\.example"",""x""\)",/)
})

test('nothing is answered as done that could not be recorded', async (context) => {
  const console = await testConsole(context)
  const security = await console.signedIn('security-administrator')
  const { sqlite } = console.started.context.database
  sqlite.exec("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'disk full'); END")
  const answer = await security.ask('POST', '/api/users', { body: { name: 'chen', role: 'viewer' } })
  assert.equal(answer.status, 500)
  assert.ok(!answer.text.includes('password'))
})
