import { Button, Descriptions, Table } from 'antd'
import type { ReactNode } from 'react'
import { Link, useParams, useSearchParams } from 'react-router'
import { useMay } from '../api/session.ts'
import { type PlacedAgent, useAgents } from '../api/vaults.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { type PlacedSource, shownState } from '../live/systems.ts'
import { LimitsEditor } from '../servers/limits-editor.tsx'
import { ProtectDrawer } from '../servers/protect-drawer.tsx'
import { ServerMark } from '../servers/server-mark.tsx'
import { SiteField } from '../servers/site-field.tsx'
import { SourceActions } from '../servers/source-actions.tsx'
import { StateMark } from '../shell/state-mark.tsx'
import { Empty, Failed, Loading } from '../shell/states.tsx'
import '../servers/servers.css'

/** One server: how it is, what of it is protected, what it may send when. */
export function Component(): ReactNode {
  const t = useTexts()
  const { vault, agent } = useParams()
  const { rows, isLoading, failure, again } = useAgents()
  const row = rows.find((one) => one.vault.id === vault && one.agent.id === agent)
  if (row !== undefined) return <Server row={row} />
  if (failure !== null) return <Failed failure={failure} again={again} />
  if (isLoading) return <Loading rows={8} />
  return (
    <Empty title={t.servers.notHere} hint={t.servers.notHereHint}>
      <Link to="/servers">{t.servers.toAll}</Link>
    </Empty>
  )
}

function Server({ row }: { row: PlacedAgent }): ReactNode {
  const t = useTexts()
  const may = useMay()
  const { vaults } = useLive()
  const [parameters, setParameters] = useSearchParams()
  const { vault, agent } = row
  const sources = [...(vaults.get(vault.id)?.sources.values() ?? [])].filter((source) => source.agent.id === agent.id)
  const close = (): void => setParameters({}, { replace: true })
  return (
    <div className="stack">
      <section className="panel" aria-labelledby="server-title">
        <header>
          <Link to="/servers">{t.shell.servers}</Link>
          <h2 id="server-title">{agent.name}</h2>
          <ServerMark row={row} />
        </header>
        <Facts row={row} />
      </section>
      <section className="panel" aria-labelledby="sources-title">
        <header>
          <h2 id="sources-title">{t.servers.protected}</h2>
          {may('protect') && !agent.revoked ? (
            <Button type="primary" onClick={() => setParameters({ protect: '' })}>
              {t.servers.protect}
            </Button>
          ) : null}
        </header>
        {sources.length === 0 ? (
          <Empty title={t.servers.nothing} hint={t.servers.nothingHint} />
        ) : (
          <SourceTable placed={sources.map((source) => ({ vault, source }))} />
        )}
      </section>
      {may('servers') ? (
        <section className="panel" aria-labelledby="limits-title">
          <header>
            <h2 id="limits-title">{t.servers.limits}</h2>
          </header>
          <div className="panel-body">
            <LimitsEditor key={JSON.stringify(agent.limits)} vault={vault.id} agent={agent} />
          </div>
        </section>
      ) : null}
      <ProtectDrawer row={row} isOpen={parameters.has('protect') && may('protect')} onClose={close} />
    </div>
  )
}

function Facts({ row: { vault, agent } }: { row: PlacedAgent }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const dash = '–'
  const moment = (at: string | null): string => (at === null ? dash : formats.moment(at))
  const facts: [string, ReactNode][] = [
    [t.servers.vault, vault.name],
    [t.servers.site, <SiteField key="site" of="agents" id={agent.id} />],
    [t.servers.version, agent.software ?? dash],
    [t.servers.address, agent.address ?? dash],
    [t.servers.enrolledAt, moment(agent.enrolled)],
    [t.servers.contact, moment(agent.lastContact)],
    [t.servers.certificate, moment(agent.certificateExpires)],
    [t.servers.roundTrip, agent.roundTripMs === null ? dash : formats.duration(agent.roundTripMs)],
    [t.servers.throughput, formats.rate(agent.bytesPerSecond)],
    [t.servers.limit, agent.limitNow === null ? t.servers.noLimit : formats.rate(agent.limitNow)],
    [t.servers.backlog, formats.bytes(agent.backlogBytes)],
    [
      t.servers.catchUp,
      agent.secondsToCatchUp === null || agent.secondsToCatchUp < 1
        ? dash
        : formats.duration(agent.secondsToCatchUp * 1000),
    ],
  ]
  return (
    <Descriptions
      className="facts"
      size="small"
      column={{ xs: 1, md: 2, lg: 3, xl: 4 }}
      items={facts.map(([label, children]) => ({ key: label, label, children }))}
    />
  )
}

function SourceTable({ placed }: { placed: readonly PlacedSource[] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const may = useMay()
  return (
    <Table<PlacedSource>
      rowKey={({ source }) => source.id}
      size="small"
      pagination={false}
      scroll={{ x: 'max-content' }}
      dataSource={[...placed]}
      columns={[
        {
          title: t.servers.source,
          render: (_, { source }) => (
            <Link to={`/systems/${encodeURIComponent(source.system ?? source.name)}`}>{source.name}</Link>
          ),
        },
        { title: t.servers.kind, render: (_, { source }) => t.servers.kinds[source.kind] },
        { title: t.servers.what, render: (_, { source }) => <span className="what">{whatOf(source)}</span> },
        {
          title: t.servers.state,
          render: (_, one) => (
            <>
              <StateMark state={shownState(one)} />
              {one.source.problems[0] === undefined ? null : (
                <span className="problem">
                  {one.source.problems[0].message}
                  <span className="quiet">{one.source.problems[0].hint}</span>
                </span>
              )}
            </>
          ),
        },
        {
          title: t.servers.lag,
          align: 'right',
          render: (_, { source }) => (source.lagMs === null ? '–' : formats.duration(source.lagMs)),
        },
        {
          title: t.servers.window,
          align: 'right',
          render: (_, { source }) => formats.duration(source.policy.windowMs),
        },
        {
          title: t.servers.allowed,
          align: 'right',
          render: (_, { source }) => formats.duration(source.policy.lagMsMax),
        },
        ...(may('protect')
          ? [
              {
                title: <span className="only-read">{t.servers.actions}</span>,
                width: 56,
                render: (_: unknown, one: PlacedSource) =>
                  one.source.state === 'retired' ? null : <SourceActions placed={one} />,
              },
            ]
          : []),
      ]}
    />
  )
}

function whatOf({ kind, paths, postgres, volume }: PlacedSource['source']): string {
  switch (kind) {
    case 'files':
      return paths.join(', ')
    case 'postgres':
      return readableUrl(postgres?.url ?? '')
    case 'volume':
      return volume?.backing ?? ''
  }
}

/** Of a socket's folder the URL has each slash encoded. */
function readableUrl(url: string): string {
  try {
    return decodeURIComponent(url)
  } catch (error) {
    if (error instanceof URIError) return url
    throw error
  }
}
