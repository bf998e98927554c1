import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { addAgentWithSource, newTestVault } from '../../test/support/vault-world.ts'
import { eventsAtMostEveryMs } from '../api/events.ts'
import { systemClock } from '../base/clock.ts'
import { systemRandom } from '../base/random.ts'
import { directoryStore } from '../store/directory.ts'
import { openDerived } from './derived.ts'
import { Live } from './live.ts'
import { Measures } from './measures/measures.ts'
import { cataloguePath, derivedFolder, measuresPath } from './place.ts'
import { Space } from './space.ts'
import { Statuses } from './statuses.ts'
import { Turns } from './turns.ts'

test('who watches at the same time is told of one look, and what changed is in the next', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-turns-'))
  context.after(() => rmSync(directory, { recursive: true }))
  mkdirSync(derivedFolder(directory))
  const store = await directoryStore(directory)
  const parts = { store, clock: systemClock, random: systemRandom, cataloguePath: cataloguePath(directory) }
  await using vault = await newTestVault(parts)
  const { source } = await addAgentWithSource(vault, 'ledger')
  const tell = (line: string): void => assert.fail(line)
  await using derived = await openDerived(vault, directory, { clock: systemClock, tell })
  using measures = new Measures(measuresPath(directory), tell)
  let ms = 1_000
  const clock = { ...systemClock, monotonicMs: () => ms }
  const known = { vault, derived, live: new Live(clock), space: new Space(store, clock), measures, clock }
  const turns = new Turns({ ...known, statuses: new Statuses(known) })
  const first = turns.now()
  assert.equal(turns.now(), first)
  await vault.registry.changeSource(source, { paused: true })
  assert.equal((await first).sources[0]?.source.state, 'waiting')
  ms += eventsAtMostEveryMs
  const [before, after] = [(await first).sources[0], (await turns.now()).sources[0]]
  assert.equal(after?.source.state, 'paused')
  assert.notEqual(after?.state, before?.state)
  assert.equal(after?.figures, before?.figures)
})
