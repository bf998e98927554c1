import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { command, type Finished, waitFor, World } from './harness.ts'

const lines = (finished: Finished): Record<string, unknown>[] =>
  finished.out
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

test('the past is looked at by every command without restoring it', { timeout: 900_000 }, async (t) => {
  const world = await World.begin(t)
  const agent = await world.join('server')
  await agent.process.start()
  const docs = world.directory('docs')
  writeFileSync(join(docs, 'plan.txt'), 'first')
  mkdirSync(join(docs, 'drafts'))
  writeFileSync(join(docs, 'drafts/one.txt'), 'draft')
  await world.atAgent(agent, 'protect', 'files', docs, '--name', 'documents', '--system', 'office')
  await world.quietMoment('documents')

  writeFileSync(join(docs, 'plan.txt'), 'second')
  await world.quietMoment('documents')
  const marked = JSON.parse((await world.atAgent(agent, 'mark', 'documents', 'before 升级', '--json')).out) as {
    sequence: number
  }
  rmSync(join(docs, 'plan.txt'))
  renameSync(join(docs, 'drafts'), join(docs, 'final'))
  await world.quietMoment('documents')

  const at = ['--at', 'mark:before 升级']
  assert.equal((await world.atVault('cat', `documents:${join(docs, 'plan.txt')}`, ...at)).out, 'second')
  assert.equal(
    (await world.atVault('cat', `documents:${join(docs, 'plan.txt')}`, '--at', `seq:${marked.sequence}`)).out,
    'second',
  )
  const [stat] = lines(await world.atVault('stat', `documents:${join(docs, 'plan.txt')}`, ...at, '--json'))
  assert.equal(stat?.['bytes'], 6)
  assert.equal(stat?.['path'], join(docs, 'plan.txt'))

  const points = lines(await world.atVault('points', 'documents', '--json'))
  assert.ok(points.some((point) => point['kind'] === 'mark' && point['label'] === 'before 升级'))
  assert.ok(
    points.some(
      (point) => point['kind'] === 'suspect' && point['label'] === 'baseline' && point['until'] !== undefined,
    ),
  )

  const changed = lines(await world.atVault('diff', 'documents', '--from', 'mark:before 升级', '--json'))
  const told = new Map(changed.map((row) => [String(row['path']).slice(docs.length + 1), row['change']]))
  assert.equal(told.get('plan.txt'), 'removed')
  assert.equal(told.get('drafts/one.txt'), 'removed')
  assert.equal(told.get('final/one.txt'), 'added')

  const history = lines(await world.atVault('history', `documents:${join(docs, 'plan.txt')}`, '--json'))
  assert.deepEqual(
    history.map((row) => [row['event'], row['bytes']]),
    [
      ['version', 5],
      ['version', 6],
      ['removed', undefined],
    ],
  )

  const verified = lines(await world.atVault('verify', 'documents', ...at, '--json')).at(-1)
  assert.equal(verified?.['done'], true)
  assert.deepEqual(verified?.['failures'], [])

  const whole = join(world.folder, 'system')
  await world.atVault('restore', '--system', 'office', ...at, '--to', whole)
  assert.equal(readFileSync(join(whole, 'documents', docs, 'plan.txt'), 'utf8'), 'second')
  const part = join(world.folder, 'part')
  await world.atAgent(agent, 'restore', 'documents', ...at, '--path', join(docs, 'drafts'), '--to', part)
  assert.equal(readFileSync(join(part, docs, 'drafts/one.txt'), 'utf8'), 'draft')
})

test(
  'protection is paused, resumed and ended, and an agent is shut out, by the command line',
  { timeout: 900_000 },
  async (t) => {
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    const docs = world.directory('docs')
    writeFileSync(join(docs, 'a.txt'), 'a')
    await world.atVault('protect', 'files', docs, '--name', 'documents', '--on', 'server')
    await world.quietMoment('documents')

    await world.atAgent(agent, 'pause', 'documents')
    await world.until('documents', 'paused', ({ state }) => state === 'paused')
    writeFileSync(join(docs, 'b.txt'), 'b')
    await world.atAgent(agent, 'resume', 'documents')
    await world.quietMoment('documents')
    assert.equal((await world.atVault('cat', `documents:${join(docs, 'b.txt')}`)).out, 'b')

    await world.atVault('unprotect', 'documents')
    assert.equal((await world.source('documents'))?.state, 'retired')
    assert.equal(
      (await world.atVault('cat', `documents:${join(docs, 'a.txt')}`)).out,
      'a',
      'history stays for its window',
    )

    await world.atVault('agents', '--revoke', 'server')
    await agent.process.stop()
    await agent.process.start()
    const refused = await command(['--agent', agent.folder, 'status'])
    assert.notEqual(refused.status, 0)
    await waitFor(
      'it is told why',
      async () => readFileSync(agent.process.log, 'utf8'),
      (log) => log.includes('revoked'),
    )
  },
)

test(
  'what cannot be done says why, what to do next, and ends with the status that the help names',
  { timeout: 900_000 },
  async (t) => {
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    const docs = world.directory('docs')
    writeFileSync(join(docs, 'a.txt'), 'a')
    await world.atAgent(agent, 'protect', 'files', docs, '--name', 'documents')
    await world.quietMoment('documents')

    const cases: [readonly string[], number, RegExp][] = [
      [['cat', `documents:${docs}/missing`], 1, /there is no/],
      [['cat', `documents:${docs}`], 2, /is a directory/],
      [['ls', 'nowhere:/'], 1, /no source "nowhere"/],
      [['ls', 'documents:/', '--at', 'yesterday'], 2, /not a recovery point/],
      [['ls', 'documents:/', '--at', '10d ago'], 1, /earliest is/],
      [['restore', 'documents', '--to', docs], 1, /not empty/],
      [['restore', '--to', docs], 2, /name a source/],
      [['protect', 'files', docs, '--name', '..', '--on', 'server'], 2, /letters, digits/],
      [['protect', 'files', docs, '--name', 'documents', '--on', 'server'], 1, /already a source/],
      [['protect', 'files', docs, '--name', 'x', '--on', 'server', '--window', 'soon'], 2, /no duration/],
      [['frobnicate'], 2, /unknown command/],
    ]
    for (const [args, status, message] of cases) {
      const finished = await command(['--vault', world.vaultFolder, ...args])
      assert.equal(finished.status, status, `${args.join(' ')}: ${finished.err}`)
      assert.match(finished.err, message, args.join(' '))
    }
    const json = await command(['--vault', world.vaultFolder, 'stat', `documents:${docs}/missing`, '--json'])
    assert.equal((JSON.parse(json.out) as { error: { code: string } }).error.code, 'not-found')
    const nobody = await command(['--vault', join(world.folder, 'nothing'), 'status'])
    assert.equal(nobody.status, 5)
    assert.match(nobody.err, /vault run/)
  },
)

test('what is derived can be deleted: reindex gives the same answers', { timeout: 900_000 }, async (t) => {
  const world = await World.begin(t)
  const agent = await world.join('server')
  await agent.process.start()
  const docs = world.directory('docs')
  for (let file = 0; file < 30; file++) writeFileSync(join(docs, `${file}.txt`), `${'text '.repeat(file * 50)}${file}`)
  await world.atAgent(agent, 'protect', 'files', docs, '--name', 'documents')
  await world.quietMoment('documents')
  for (let file = 0; file < 30; file += 3) writeFileSync(join(docs, `${file}.txt`), `changed ${file}`)
  await world.quietMoment('documents')
  await agent.process.stop()
  const ask = async (): Promise<string> =>
    (
      await Promise.all([
        world.atVault('ls', `documents:${docs}`, '--json'),
        world.atVault('points', 'documents', '--json'),
        world.atVault('history', `documents:${join(docs, '3.txt')}`, '--json'),
        world.atVault('cat', `documents:${join(docs, '29.txt')}`, '--at', 'latest'),
      ])
    )
      .map(({ out }) => out)
      .join('\n')
  const before = await ask()
  await world.vault.stop()
  rmSync(join(world.vaultFolder, 'derived'), { recursive: true })
  const rebuilt = JSON.parse((await world.expect(['vault', 'reindex', '--dir', world.vaultFolder, '--json'])).out) as {
    journals: number
  }
  assert.equal(rebuilt.journals, 1)
  await world.vault.start()
  assert.equal(await ask(), before)
})
