import type { ReactNode } from 'react'
import { Link } from 'react-router'
import { useSpace } from '../api/space.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useNow } from '../live/live.tsx'
import type { LiveVault } from '../live/state.ts'
import { ToneShape } from '../shell/state-mark.tsx'
import { SpaceSentence } from './space-sentence.tsx'

/** One card for each vault: whether it is there, how full it is, when it will be. */
export function VaultCards({ vaults }: { vaults: readonly LiveVault[] }): ReactNode {
  return (
    <ul className="vault-cards">
      {vaults.map((vault) => (
        <li key={vault.entry.id} className="panel">
          <VaultCard vault={vault} />
        </li>
      ))}
    </ul>
  )
}

function VaultCard({ vault: { entry, status, sources } }: { vault: LiveVault }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { space } = useSpace(entry)
  return (
    <>
      <header>
        <h2>
          <Link to={`/vaults/${encodeURIComponent(entry.id)}`}>{entry.name}</Link>
        </h2>
        <VaultMark vault={{ entry, status, sources }} />
      </header>
      <div className="panel-body stack-tight">
        <p className="quiet">
          {entry.url}
          {entry.site === undefined ? null : ` · ${entry.site}`}
          {status === null ? null : ` · ${t.vaults.version(status.version)}`}
        </p>
        {status === null ? (
          <p>{t.overview.notHeard}</p>
        ) : (
          <>
            <CapacityMeter storedBytes={status.storedBytes} freeBytes={status.freeBytes} />
            <p>
              <strong>{t.overview.space(formats.bytes(status.storedBytes), formats.bytes(status.freeBytes))}</strong>
            </p>
          </>
        )}
        {space === undefined ? null : <SpaceSentence space={space} />}
        <p className="quiet">
          {t.overview.sources([...sources.values()].filter(({ state }) => state !== 'retired').length)}
        </p>
      </div>
    </>
  )
}

function CapacityMeter({ storedBytes, freeBytes }: { storedBytes: number; freeBytes: number }): ReactNode {
  const share = storedBytes / Math.max(1, storedBytes + freeBytes)
  return (
    <span className={share > 0.95 ? 'meter is-full' : 'meter'} aria-hidden="true">
      <span style={{ width: `${share * 100}%` }} />
    </span>
  )
}

/** How a vault is, with the next step where it is not well. */
export function VaultMark({ vault: { entry, status } }: { vault: LiveVault }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const now = useNow(5_000)
  const since = entry.since === null ? '' : formats.shortly(entry.since, now)
  const state = !entry.connected
    ? 'away'
    : status?.stalled === true
      ? 'full'
      : (status?.damage.length ?? 0) > 0
        ? 'damaged'
        : 'well'
  const tone = ({ away: 'away', full: 'bad', damaged: 'bad', well: 'good' } as const)[state]
  return (
    <span className={`state-mark tone-${tone}`} title={entry.error ?? t.vaults.stateSentences[state]}>
      <ToneShape tone={tone} />
      {state === 'away' ? t.vaults.awaySince(since) : t.vaults.stateWords[state]}
    </span>
  )
}
