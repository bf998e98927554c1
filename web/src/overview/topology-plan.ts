import type { Sites } from '../api/sites.ts'
import type { PlacedAgent } from '../api/vaults.ts'
import type { LiveState } from '../live/state.ts'
import { shownState } from '../live/systems.ts'
import { rankOf, type ShownState, worstOf } from '../shell/source-states.ts'

/** Servers on the left, vaults on the right, by site, and a link for each pair that belongs together. */
export interface TopologyPlan {
  readonly servers: readonly SiteGroup<ServerNode>[]
  readonly vaults: readonly SiteGroup<VaultNode>[]
  readonly links: readonly Link[]
}

export interface SiteGroup<T> {
  /** Empty for what has no site. */
  readonly site: string
  readonly nodes: readonly T[]
}

export interface ServerNode {
  readonly key: string
  readonly name: string
  /** More than one where a site is drawn as one. */
  readonly servers: number
  readonly sources: number
  readonly state: ShownState
}

export interface VaultNode {
  readonly key: string
  readonly name: string
  readonly isConnected: boolean
  readonly freeBytes: number | null
  readonly storedBytes: number | null
}

export interface Link {
  readonly server: string
  readonly vault: string
  readonly state: ShownState
  readonly bytesPerSecond: number
  readonly limit: number | null
  readonly backlogBytes: number
  readonly secondsToCatchUp: number | null
}

/** Above so many servers each site is drawn as one. */
export const serversDrawnMax = 14

export function planTopology(
  { vaults }: Pick<LiveState, 'vaults'>,
  agents: readonly PlacedAgent[],
  sites: Sites,
): TopologyPlan {
  const joined = joinsOf(vaults, agents, sites)
  const names = new Set(joined.map(({ server }) => server))
  const keyOf = names.size <= serversDrawnMax ? (join: Join) => join.server : (join: Join) => `site ${join.site}`
  const nodes = new Map<string, Join[]>()
  for (const join of joined) nodes.set(keyOf(join), [...(nodes.get(keyOf(join)) ?? []), join])
  const servers = [...nodes].map(([key, joins]) => ({
    site: joins[0]?.site ?? '',
    node: {
      key,
      name: joins[0]?.server ?? '',
      servers: new Set(joins.map(({ server }) => server)).size,
      sources: joins.reduce((sum, { sources }) => sum + sources, 0),
      state: worstOf(joins.map(({ state }) => state)),
    },
  }))
  return {
    servers: grouped(servers.toSorted((one, other) => one.node.name.localeCompare(other.node.name))),
    vaults: grouped(
      [...vaults.values()].map(({ entry, status }) => ({
        site: sites.vaults[entry.id] ?? entry.site ?? '',
        node: {
          key: entry.id,
          name: entry.name,
          isConnected: entry.connected,
          freeBytes: status?.freeBytes ?? null,
          storedBytes: status?.storedBytes ?? null,
        },
      })),
    ),
    links: linksOf(joined, keyOf),
  }
}

/** One server at one vault. */
interface Join extends Omit<Link, 'vault'> {
  readonly vault: string
  readonly site: string
  readonly sources: number
}

function joinsOf(vaults: LiveState['vaults'], agents: readonly PlacedAgent[], sites: Sites): Join[] {
  return agents
    .filter(({ agent }) => !agent.revoked)
    .map(({ vault, agent }) => {
      const sources = [...(vaults.get(vault.id)?.sources.values() ?? [])].filter(
        (source) => source.agent.id === agent.id && source.state !== 'retired',
      )
      const states = sources.map((source) => shownState({ vault, source }))
      return {
        server: agent.name,
        vault: vault.id,
        site: sites.agents[agent.id] ?? '',
        sources: sources.length,
        state: agent.connected || !vault.connected ? worstOf(states) : 'offline',
        bytesPerSecond: sources.reduce((sum, { bytesPerSecond }) => sum + bytesPerSecond, 0),
        limit: agent.limitNow,
        backlogBytes: sources.reduce((sum, { lagBytes }) => sum + lagBytes, 0),
        secondsToCatchUp: agent.secondsToCatchUp,
      }
    })
}

function linksOf(joins: readonly Join[], keyOf: (join: Join) => string): Link[] {
  const links = new Map<string, Link>()
  for (const join of joins) {
    const server = keyOf(join)
    const { vault, state, bytesPerSecond, limit, backlogBytes, secondsToCatchUp } = join
    const before = links.get(`${server} ${vault}`)
    links.set(`${server} ${vault}`, {
      server,
      vault,
      state: before !== undefined && rankOf(before.state) < rankOf(state) ? before.state : state,
      bytesPerSecond: bytesPerSecond + (before?.bytesPerSecond ?? 0),
      // Of several servers: what they may send together, where each of them has a limit.
      limit: before === undefined ? limit : before.limit === null || limit === null ? null : before.limit + limit,
      backlogBytes: backlogBytes + (before?.backlogBytes ?? 0),
      secondsToCatchUp: longest(secondsToCatchUp, before?.secondsToCatchUp ?? null),
    })
  }
  return [...links.values()]
}

function longest(one: number | null, other: number | null): number | null {
  return one === null ? other : other === null ? one : Math.max(one, other)
}

function grouped<T>(placed: readonly { readonly site: string; readonly node: T }[]): SiteGroup<T>[] {
  const groups = new Map<string, T[]>()
  for (const { site, node } of placed) groups.set(site, [...(groups.get(site) ?? []), node])
  return [...groups]
    .map(([site, nodes]) => ({ site, nodes }))
    .toSorted((one, other) => one.site.localeCompare(other.site))
}
