import { Button } from 'antd'
import { lazy, type ReactNode, Suspense, useState } from 'react'
import { Link, useNavigate, useParams } from 'react-router'
import type { SpaceAnswer } from '../../../src/api/measures.ts'
import { useChange } from '../api/changes.ts'
import { request } from '../api/client.ts'
import { useMay } from '../api/session.ts'
import { useSpace } from '../api/space.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import type { LiveVault } from '../live/state.ts'
import { SiteField } from '../servers/site-field.tsx'
import { NamedConfirm } from '../shell/named-confirm.tsx'
import { Empty, Failed, Loading } from '../shell/states.tsx'
import { Consoles } from '../vaults/consoles.tsx'
import { SourceSpace } from '../vaults/source-space.tsx'
import { SpaceSentence } from '../vaults/space-sentence.tsx'
import { VaultMark } from '../vaults/vault-cards.tsx'
import '../vaults/vaults.css'

const GrowthChart = lazy(async () => ({ default: (await import('../chart/growth-chart.tsx')).GrowthChart }))

/** One vault: how full it is and will be, what of it each source needs, which consoles it lets in. */
export function Component(): ReactNode {
  const t = useTexts()
  const { vault: id = '' } = useParams()
  const { vaults, connection } = useLive()
  const vault = vaults.get(id)
  if (vault !== undefined) return <Vault vault={vault} />
  if (connection.kind === 'connecting') return <Loading rows={8} />
  return (
    <Empty title={t.vaults.notHere} hint={t.vaults.notHereHint}>
      <Link to="/vaults">{t.vaults.toAll}</Link>
    </Empty>
  )
}

function Vault({ vault }: { vault: LiveVault }): ReactNode {
  const t = useTexts()
  const may = useMay()
  const { entry, status, sources } = vault
  const { space, failure, again } = useSpace(entry)
  return (
    <div className="stack">
      <section className="panel" aria-labelledby="vault-title">
        <header>
          <Link to="/vaults">{t.shell.vaults}</Link>
          <h2 id="vault-title">{entry.name}</h2>
          <VaultMark vault={vault} />
          {may('vaults') ? <RemoveButton vault={vault} /> : null}
        </header>
        <div className="panel-body vault-facts">
          <span>
            {t.vaults.url} <strong>{entry.url}</strong>
          </span>
          <span>
            {t.servers.site} <SiteField of="vaults" id={entry.id} />
          </span>
          {status === null ? null : <span>{t.vaults.version(status.version)}</span>}
        </div>
        {status?.damage.map((line) => (
          <p key={line} className="warning tone-bad">
            {line}
          </p>
        ))}
      </section>
      <section className="panel" aria-labelledby="space-title">
        <header>
          <h2 id="space-title">{t.vaults.capacity}</h2>
        </header>
        {space === undefined ? (
          failure === null ? (
            <Loading rows={6} />
          ) : (
            <Failed failure={failure} again={again} />
          )
        ) : (
          <Space space={space} />
        )}
      </section>
      <section className="panel" aria-labelledby="sources-title">
        <header>
          <h2 id="sources-title">{t.vaults.sources}</h2>
        </header>
        {sources.size === 0 ? (
          <Empty title={t.overview.noSystem} hint={t.overview.noSystemHint} />
        ) : (
          <SourceSpace
            rows={[...sources.values()].map((source) => ({
              vault: entry,
              source,
              space: space?.sources.find(({ id }) => id === source.id),
            }))}
          />
        )}
      </section>
      <section className="panel" aria-labelledby="consoles-title">
        <header>
          <h2 id="consoles-title">{t.vaults.consoles}</h2>
        </header>
        <Consoles vault={entry} />
      </section>
    </div>
  )
}

function Space({ space }: { space: SpaceAnswer }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const numbers: [string, string][] = [
    [t.vaults.stored, formats.bytes(space.storedBytes)],
    [t.vaults.free, formats.bytes(space.freeBytes)],
    [t.vaults.total, formats.bytes(space.totalBytes)],
    [t.vaults.cameIn, formats.bytes(space.logicalBytes)],
    [
      t.vaults.saved,
      space.logicalBytes > space.storedBytes ? formats.share(1 - space.storedBytes / space.logicalBytes) : '–',
    ],
  ]
  return (
    <div className="panel-body stack">
      <dl className="numbers">
        {numbers.map(([label, value]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <SpaceSentence space={space} />
      {space.days.length < 2 ? null : (
        <Suspense fallback={<Loading rows={5} />}>
          <GrowthChart space={space} />
        </Suspense>
      )}
    </div>
  )
}

function RemoveButton({ vault: { entry } }: { vault: LiveVault }): ReactNode {
  const t = useTexts()
  const go = useNavigate()
  const [isOpen, setOpen] = useState(false)
  const { ask, isBusy, failure } = useChange(() => request('DELETE', `/vaults/${encodeURIComponent(entry.id)}`), {
    done: () => t.vaults.removed(entry.name),
    touches: [],
  })
  return (
    <>
      <Button size="small" danger onClick={() => setOpen(true)}>
        {t.vaults.remove}
      </Button>
      <NamedConfirm
        isOpen={isOpen}
        title={t.vaults.removeTitle(entry.name)}
        name={entry.name}
        act={t.vaults.remove}
        isBusy={isBusy}
        failure={failure}
        onClose={() => setOpen(false)}
        onConfirm={() => void ask(undefined).then((isDone) => isDone && go('/vaults'))}
      >
        <p>{t.vaults.removeSentence}</p>
      </NamedConfirm>
    </>
  )
}
