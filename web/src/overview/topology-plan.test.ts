import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { VaultEntry } from '../../../src/api/console.ts'
import type { SourceStatus } from '../../../src/api/schemas.ts'
import type { AgentDetails } from '../../../src/api/tasks.ts'
import type { PlacedAgent } from '../api/vaults.ts'
import type { LiveVault } from '../live/state.ts'
import { planTopology, serversDrawnMax } from './topology-plan.ts'

const entry = (id: string, connected = true): VaultEntry => ({ id, name: id, url: '', connected, since: null })
const agent = (name: string, vault: VaultEntry, change: Partial<AgentDetails> = {}): PlacedAgent => ({
  vault,
  agent: {
    id: `${name}@${vault.id}`,
    name,
    connected: true,
    revoked: false,
    limitNow: null,
    secondsToCatchUp: null,
    ...change,
  } as AgentDetails,
})
const vaultOf = (of: VaultEntry, ...agents: PlacedAgent[]): LiveVault => ({
  entry: of,
  status: null,
  sources: new Map(
    agents.map(({ agent: { id, name } }) => [
      id,
      { id, name, state: 'protected', agent: { id }, bytesPerSecond: 10, lagBytes: 4 } as unknown as SourceStatus,
    ]),
  ),
})

test('a server that joined two vaults is drawn once, with a link to each', () => {
  const [north, south] = [entry('north'), entry('south', false)]
  const agents = [agent('web', north, { limitNow: 7 }), agent('web', south), agent('old', north, { revoked: true })]
  const vaults = new Map([
    ['north', vaultOf(north, agents[0]!)],
    ['south', vaultOf(south, agents[1]!)],
  ])
  const sites = { vaults: { north: 'Harbour' }, agents: { 'web@north': 'Town hall' } }
  const plan = planTopology({ vaults }, agents, sites)
  assert.deepEqual(
    plan.servers.map(({ site, nodes }) => [site, nodes.map(({ name, sources, state }) => [name, sources, state])]),
    [['Town hall', [['web', 2, 'unknown']]]],
  )
  assert.deepEqual(
    plan.links.map(({ vault, state, limit, bytesPerSecond }) => [vault, state, limit, bytesPerSecond]),
    [
      ['north', 'protected', 7, 10],
      ['south', 'unknown', null, 10],
    ],
  )
  assert.deepEqual(
    plan.vaults.map(({ site, nodes }) => [site, nodes[0]?.isConnected]),
    [
      ['', false],
      ['Harbour', true],
    ],
  )
})

test('many servers are drawn site by site, and what they send together is one link', () => {
  const north = entry('north')
  const agents = Array.from({ length: serversDrawnMax + 1 }, (_, at) =>
    agent(`s${at}`, north, { limitNow: at === 3 ? null : 5, secondsToCatchUp: at, connected: at !== 2 }),
  )
  const sites = {
    vaults: {},
    agents: Object.fromEntries(agents.map(({ agent: { id } }, at) => [id, at < 2 ? 'a' : 'b'])),
  }
  const plan = planTopology({ vaults: new Map([['north', vaultOf(north, ...agents)]]) }, agents, sites)
  assert.deepEqual(
    plan.servers.map(({ site, nodes }) => [site, nodes.map(({ servers, state }) => [servers, state])]),
    [
      ['a', [[2, 'protected']]],
      ['b', [[serversDrawnMax - 1, 'offline']]],
    ],
  )
  const [first, second] = plan.links
  assert.deepEqual([first?.limit, first?.bytesPerSecond, first?.backlogBytes], [10, 20, 8])
  assert.deepEqual([second?.limit, second?.secondsToCatchUp], [null, serversDrawnMax], 'one without a limit: none')
})
