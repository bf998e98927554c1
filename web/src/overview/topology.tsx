import { type ReactNode, useCallback, useMemo, useState } from 'react'
import { Link as RouteLink } from 'react-router'
import { useSites } from '../api/sites.ts'
import { useAgents } from '../api/vaults.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { toneOf } from '../shell/source-states.ts'
import { ToneShape } from '../shell/state-mark.tsx'
import { Empty } from '../shell/states.tsx'
import { type Link, planTopology, type ServerNode, type SiteGroup, type VaultNode } from './topology-plan.ts'

/** Heights in pixels: what the links are drawn to must stand where they end. */
const siteHeight = 24
const serverHeight = 46
const vaultHeight = 66
const nodeGap = 6
/** Each further link of one server needs a line of its own. */
const linkHeight = 22
/** Where a link is straight, so that what it carries can be written on it. */
const straight = 0.5

/** Sites and servers, the vaults they send to, and what is on the way. */
export function Topology(): ReactNode {
  const t = useTexts()
  const live = useLive()
  const { rows } = useAgents()
  const sites = useSites()
  const plan = useMemo(() => planTopology(live, rows, sites), [live, rows, sites])
  const [width, setWidth] = useState(320)
  const measure = useCallback((element: HTMLDivElement | null) => observeWidth(element, setWidth), [])
  const isEmpty = plan.servers.length === 0
  if (isEmpty) return <Empty title={t.servers.none} hint={t.servers.noneHint} />

  const linksOfServer = (key: string): Link[] => plan.links.filter(({ server }) => server === key)
  const heightOf = ({ key }: ServerNode): number => Math.max(serverHeight, linkHeight * linksOfServer(key).length + 10)
  const left = placed(plan.servers, heightOf)
  const right = placed(plan.vaults, () => vaultHeight)
  const height = Math.max(left.height, right.height)
  const drop = (height - right.height) / 2

  return (
    <div className="topology">
      <div className="topology-side">
        {plan.servers.map(({ site, nodes }) => (
          <section key={site} aria-label={site}>
            <h3>{site === '' ? t.overview.noSite : site}</h3>
            {nodes.map((node) => (
              <Server key={node.key} node={node} height={heightOf(node)} />
            ))}
          </section>
        ))}
      </div>
      <div className="topology-middle" ref={measure}>
        <svg width={width} height={height} aria-hidden="true">
          {plan.links.map((link) => {
            const from = left.at.get(link.server) ?? 0
            const to = (right.at.get(link.vault) ?? 0) + drop
            const order = linksOfServer(link.server)
            const y = from + (order.indexOf(link) - (order.length - 1) / 2) * linkHeight + 8
            const bend = width * straight
            return (
              <path
                key={`${link.server} ${link.vault}`}
                className={`link tone-${toneOf(link.state)}`}
                d={`M0 ${y}H${bend}C${(bend + width) / 2} ${y} ${(bend + width) / 2} ${to} ${width} ${to}`}
                strokeWidth={thickness(link.bytesPerSecond)}
                strokeDasharray={toneOf(link.state) === 'away' ? '5 5' : undefined}
              />
            )
          })}
        </svg>
        {plan.links.map((link) => {
          const from = left.at.get(link.server) ?? 0
          const order = linksOfServer(link.server)
          const y = from + (order.indexOf(link) - (order.length - 1) / 2) * linkHeight
          return <LinkText key={`${link.server} ${link.vault}`} link={link} top={y - 12} />
        })}
      </div>
      <div className="topology-side topology-vaults" style={{ paddingTop: drop }}>
        {plan.vaults.map(({ site, nodes }) => (
          <section key={site} aria-label={site}>
            <h3>{site === '' ? t.overview.noSite : site}</h3>
            {nodes.map((node) => (
              <Vault key={node.key} node={node} />
            ))}
          </section>
        ))}
      </div>
    </div>
  )
}

function Server({ node, height }: { node: ServerNode; height: number }): ReactNode {
  const t = useTexts()
  return (
    <RouteLink to="/servers" className="node" style={{ height: height - nodeGap }}>
      <span className={`node-name tone-${toneOf(node.state)}`}>
        <ToneShape tone={toneOf(node.state)} />
        <strong>{node.servers > 1 ? t.overview.servers(node.servers) : node.name}</strong>
      </span>
      <span className="quiet">
        {node.sources === 0
          ? t.overview.protectsNothing
          : `${t.states.words[node.state]} · ${t.overview.sources(node.sources)}`}
      </span>
    </RouteLink>
  )
}

function Vault({ node }: { node: VaultNode }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { freeBytes, storedBytes } = node
  return (
    <RouteLink
      to={`/vaults/${encodeURIComponent(node.key)}`}
      className="node"
      style={{ height: vaultHeight - nodeGap }}
    >
      <span className={`node-name tone-${node.isConnected ? 'good' : 'away'}`}>
        <ToneShape tone={node.isConnected ? 'good' : 'away'} />
        <strong>{node.name}</strong>
      </span>
      {freeBytes === null || storedBytes === null ? (
        <span className="quiet">{t.overview.notHeard}</span>
      ) : (
        <>
          <span className="quiet">{t.overview.space(formats.bytes(storedBytes), formats.bytes(freeBytes))}</span>
          <span className="meter" aria-hidden="true">
            <span style={{ width: `${(100 * storedBytes) / Math.max(1, storedBytes + freeBytes)}%` }} />
          </span>
        </>
      )}
    </RouteLink>
  )
}

function LinkText({ link, top }: { link: Link; top: number }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const backlog = link.backlogBytes >= backlogShownBytes ? link.backlogBytes : 0
  return (
    <p className="link-text" style={{ top }}>
      <strong>{formats.rate(link.bytesPerSecond)}</strong>
      {link.limit === null ? null : <span>{t.overview.limit(formats.rate(link.limit))}</span>}
      {backlog === 0 ? null : <span className="tone-late">{t.overview.behind(formats.bytes(backlog))}</span>}
      {backlog === 0 || link.secondsToCatchUp === null || link.secondsToCatchUp < 1 ? null : (
        <span>{t.overview.catchUp(formats.duration(link.secondsToCatchUp * 1000))}</span>
      )}
    </p>
  )
}

/** Called with the element when it is there; what it returns is called when that goes. */
function observeWidth(element: HTMLElement | null, tell: (width: number) => void): (() => void) | undefined {
  if (element === null) return undefined
  const observer = new ResizeObserver(() => tell(element.clientWidth))
  observer.observe(element)
  return () => observer.disconnect()
}

/** What is always on its way says nothing. */
const backlogShownBytes = 4 * 1024 * 1024

/** A line ten times as busy is a step thicker. */
const thickness = (bytesPerSecond: number): number =>
  Math.min(7, 1.5 + Math.max(0, Math.log10(Math.max(1, bytesPerSecond) / 10_000)) * 1.2)

/** The middle of each node, from the top. */
function placed<T extends { readonly key: string }>(
  groups: readonly SiteGroup<T>[],
  heightOf: (node: T) => number,
): { readonly at: ReadonlyMap<string, number>; readonly height: number } {
  const at = new Map<string, number>()
  let y = 0
  for (const { nodes } of groups) {
    y += siteHeight
    for (const node of nodes) {
      at.set(node.key, y + (heightOf(node) - nodeGap) / 2)
      y += heightOf(node)
    }
  }
  return { at, height: y }
}
