import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { timeline } from '../../model/lsn.ts'
import { limitsIn } from './server.ts'
import { parseLine, type RestoredSettings, settle } from './settings.ts'

test('a line is read as the server reads it', () => {
  assert.deepEqual(parseLine("work_mem = '64MB'  # much"), { name: 'work_mem', value: '64MB' })
  assert.deepEqual(parseLine('Port 5433'), { name: 'port', value: '5433' })
  assert.deepEqual(parseLine("a.b='it''s \\'so\\''"), { name: 'a.b', value: "it's 'so'" })
  assert.deepEqual(parseLine("include_if_exists 'x.conf'"), { name: 'include_if_exists', value: 'x.conf' })
  for (const text of ['', '# port = 1', '   ', '= 3']) assert.equal(parseLine(text), undefined)
})

const wanted: RestoredSettings = {
  major: 16,
  recoverTo: 'end',
  timeline: timeline(2),
  pause: false,
  socketFolder: '/run/here',
  port: 5432,
  atLeast: { max_connections: 200 },
  libraryFolders: [],
}

function directory(t: TestContext, files: Record<string, string>): string {
  const data = mkdtempSync(join(tmpdir(), 'tidemark-settings-'))
  t.after(() => rmSync(data, { recursive: true }))
  mkdirSync(join(data, 'conf.d'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(data, name), text)
  return data
}

test('what is included inside counts, what is outside or absent becomes a comment', (t) => {
  const data = directory(t, {
    'postgresql.conf': "include_dir 'conf.d'\ninclude '/etc/postgresql/extra.conf'\ninclude 'gone.conf'\nport = 5433\n",
    'conf.d/a.conf': "archive_command = 'cp %p /archive'\nrecovery_target_time = 'yesterday'\n",
    'postgresql.auto.conf': "primary_conninfo = 'host=a'\n",
  })
  const told = new Map(settle(data, wanted).map(({ name, was, is }) => [name, { was, is }]))
  assert.deepEqual(told.get('archive_command'), { was: 'cp %p /archive', is: '' })
  assert.deepEqual(told.get('primary_conninfo'), { was: 'host=a', is: '' })
  assert.deepEqual(told.get('port'), { was: '5433', is: '5432' })
  assert.deepEqual(told.get('recovery_target_time'), { was: 'yesterday', is: 'left out' })
  assert.match(readFileSync(join(data, 'postgresql.conf'), 'utf8'), /^# left out .*include '\/etc/m)
  assert.match(readFileSync(join(data, 'postgresql.conf'), 'utf8'), /^# left out .*include 'gone/m)
  assert.match(readFileSync(join(data, 'conf.d/a.conf'), 'utf8'), /^# left out .*recovery_target_time/m)
  assert.match(readFileSync(join(data, 'postgresql.auto.conf'), 'utf8'), /^max_connections = '200'$/m)
})

test('settling again tells the same and adds nothing', (t) => {
  const data = directory(t, {
    'postgresql.conf': "shared_preload_libraries = 'pg_cron, nowhere'\nssl = on\n",
    'postgresql.auto.conf': "archive_mode = 'on'\n",
  })
  const first = settle(data, wanted)
  const text = readFileSync(join(data, 'postgresql.auto.conf'), 'utf8')
  assert.deepEqual(settle(data, wanted), first)
  assert.equal(readFileSync(join(data, 'postgresql.auto.conf'), 'utf8'), text)
  assert.deepEqual(
    first.map(({ name }) => name),
    ['archive_mode', 'ssl', 'shared_preload_libraries'],
  )
})

test('a cluster whose settings were outside gets empty ones, and that is told', (t) => {
  const [change] = settle(directory(t, {}), wanted)
  assert.equal(change?.name, 'postgresql.conf')
  assert.match(String(change?.why), /by hand/)
})

test('the limits that a recovery lacks are read from what the server says', () => {
  assert.deepEqual(
    limitsIn('DETAIL:  max_connections = 30 is a lower setting than on the primary server, where its value was 90.'),
    { max_connections: 90 },
  )
  assert.deepEqual(
    limitsIn(
      'FATAL:  hot standby is not possible because max_worker_processes = 8 is a lower setting than on the master server (its value was 20)',
    ),
    { max_worker_processes: 20 },
  )
  assert.equal(limitsIn('LOG:  all is well'), undefined)
})
