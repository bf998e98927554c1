import assert from 'node:assert/strict'
import { appendFileSync, cpSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { differences, needsRsync, waitFor, World } from './harness.ts'

test(
  'a folder is protected, edited, and restored to a moment before and after',
  { skip: needsRsync, timeout: 900_000 },
  async (t) => {
    const world = await World.begin(t)
    const agent = await world.join('server')
    await agent.process.start()
    const docs = world.directory('docs')
    for (let file = 0; file < 50; file++) writeFileSync(join(docs, `${file}.txt`), `first version of ${file}\n`)
    await world.atAgent(agent, 'protect', 'files', docs, '--name', 'documents')
    const before = await world.quietMoment('documents')
    cpSync(docs, join(world.folder, 'before'), { recursive: true, preserveTimestamps: true })

    appendFileSync(join(docs, '1.txt'), 'more\n')
    rmSync(join(docs, '2.txt'))
    mkdirSync(join(docs, 'new'))
    renameSync(join(docs, '3.txt'), join(docs, 'new/three.txt'))
    const after = await world.quietMoment('documents')

    await waitFor(
      'protected with little lag',
      () => world.status(),
      ({ sources: [source] }) => source?.state === 'protected' && (source.lagMs ?? Infinity) < 10_000,
    )

    await world.restore('documents', after, join(world.folder, 'to-after'))
    assert.equal(differences(docs, join(world.folder, 'to-after', docs)), '')
    await world.atAgent(agent, 'restore', 'documents', '--at', before, '--to', join(world.folder, 'to-before'))
    assert.equal(differences(join(world.folder, 'before'), join(world.folder, 'to-before', docs)), '')
    const wasThere = await world.atVault('cat', `documents:${join(docs, '2.txt')}`, '--at', before)
    assert.equal(wasThere.out, 'first version of 2\n')
    const listed = await world.atAgent(agent, 'ls', `documents:${docs}`, '--at', before, '--json')
    assert.equal(listed.out.trim().split('\n').length, 50)
  },
)
