import { useQuery } from '@tanstack/react-query'
import { Button, Drawer, Select, Spin } from 'antd'
import { type ReactNode, useState } from 'react'
import { Link } from 'react-router'
import type { z } from 'zod'
import type { tokenAnswer } from '../../../src/api/schemas.ts'
import type { VaultEntry } from '../../../src/api/console.ts'
import { request, vaultPath } from '../api/client.ts'
import { useAgents } from '../api/vaults.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive, useNow } from '../live/live.tsx'
import { CopyLine } from '../shell/copy-line.tsx'
import { Failed, Notice } from '../shell/states.tsx'
import { serverPath } from './server-table.tsx'

const validMs = 3_600_000

/** The line to paste on a server, and a watch for that server to come. */
export function EnrolDrawer({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }): ReactNode {
  const t = useTexts()
  const entries = [...useLive().vaults.values()].map(({ entry }) => entry).filter(({ connected }) => connected)
  const [chosen, setChosen] = useState<string | null>(null)
  const vault = entries.find(({ id }) => id === chosen) ?? (entries.length === 1 ? entries[0] : undefined)
  return (
    <Drawer open={isOpen} onClose={onClose} title={t.servers.enrol} size={560} destroyOnHidden>
      <div className="stack">
        <p>{t.servers.enrolHint}</p>
        {entries.length === 0 ? <Notice tone="away" title={t.servers.noVault} hint={t.servers.noVaultHint} /> : null}
        {entries.length > 1 ? (
          <label className="stack-tight" htmlFor="enrol-vault">
            <span>{t.servers.toVault}</span>
            <Select
              id="enrol-vault"
              value={chosen}
              placeholder={t.servers.chooseVault}
              onChange={setChosen}
              options={entries.map(({ id, name, url }) => ({ value: id, label: `${name} (${url})` }))}
            />
          </label>
        ) : null}
        {vault === undefined ? null : <Enrolment key={vault.id} vault={vault} />}
      </div>
    </Drawer>
  )
}

function Enrolment({ vault }: { vault: VaultEntry }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const now = useNow()
  const { rows } = useAgents()
  const here = rows.filter((row) => row.vault.id === vault.id)
  const [before] = useState(() => new Set(here.map(({ agent }) => agent.id)))
  const token = useQuery({
    queryKey: ['enrolment-token', vault.id],
    queryFn: () => request<z.infer<typeof tokenAnswer>>('POST', vaultPath(vault.id, '/tokens'), { validMs }),
    // A token is made once for each opening of the drawer.
    staleTime: Infinity,
    gcTime: 0,
  })
  const come = here.filter(({ agent }) => !before.has(agent.id))
  if (token.error !== null) return <Failed failure={token.error} again={() => void token.refetch()} />
  if (token.data === undefined) return <Spin />
  const left = Date.parse(token.data.expires) - now
  const line = `TIDEMARK_TOKEN=${token.data.token} tidemark agent join ${vault.url} && tidemark agent run`
  if (come.length > 0) {
    return (
      <ul className="stack">
        {come.map((row) => (
          <li key={row.agent.id}>
            <Notice
              tone={row.agent.connected ? 'good' : 'working'}
              title={row.agent.connected ? t.servers.isThere(row.agent.name) : t.servers.isEnrolled(row.agent.name)}
              hint={row.agent.connected ? t.servers.isThereHint : t.servers.isEnrolledHint}
            >
              <Link to={`${serverPath(row)}?protect`}>{t.servers.protect}</Link>
            </Notice>
          </li>
        ))}
      </ul>
    )
  }
  if (left <= 0) {
    return (
      <Notice tone="late" title={t.servers.tokenEnded} hint={t.servers.tokenEndedHint}>
        <Button onClick={() => void token.refetch()}>{t.servers.newToken}</Button>
      </Notice>
    )
  }
  return (
    <>
      <CopyLine line={line} label={t.servers.line} />
      <p className="quiet">{t.servers.lineHint}</p>
      <p className="waiting" role="status">
        <Spin size="small" /> {t.servers.waiting}{' '}
        <span className="quiet">{t.servers.validFor(formats.duration(left))}</span>
      </p>
    </>
  )
}
